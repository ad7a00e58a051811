//! Echo servers: the least a runtime can do for a request.

mod epoll;

use clap::{Args, ValueEnum};

use crate::Outcome;

/// Whose runtime echoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Host {
    /// A bare loop over epoll
    Epoll,
    /// tokio 1, one thread
    Tokio,
    /// glommio 0.9, one executor
    Glommio,
}

/// The server, as flags.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Whose runtime
    #[arg(long, value_enum)]
    host: Host,
    /// Port on loopback
    #[arg(long, default_value_t = 17_600)]
    port: u16,
    /// CPU to pin to
    #[arg(long, default_value_t = 0)]
    cpu: usize,
}

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;

/// Serves until killed.
pub fn run(options: &Options) -> Outcome<()> {
    affinity::set_thread_affinity([options.cpu]).map_err(|e| e.to_string())?;
    match options.host {
        Host::Epoll => epoll::serve(options.port),
        Host::Tokio => tokio_serve(options.port),
        Host::Glommio => glommio_serve(options.port, options.cpu),
    }
}

fn tokio_serve(port: u16) -> Outcome<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        loop {
            let (mut socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            tokio::task::spawn_local(async move {
                let mut buf = vec![0; READ_BYTES];
                while let Ok(bytes) = socket.read(&mut buf).await {
                    if bytes == 0 || socket.write_all(&buf[..bytes]).await.is_err() {
                        break;
                    }
                }
            });
        }
    })
}

fn glommio_serve(port: u16, cpu: usize) -> Outcome<()> {
    use futures_lite::{AsyncReadExt, AsyncWriteExt};
    let builder = glommio::LocalExecutorBuilder::new(glommio::Placement::Fixed(cpu));
    let executor = builder.make().map_err(|e| e.to_string())?;
    executor.run(async move {
        let listener = glommio::net::TcpListener::bind(("127.0.0.1", port)).map_err(|e| e.to_string())?;
        loop {
            let mut socket = listener.accept().await.map_err(|e| e.to_string())?;
            socket.set_nodelay(true).map_err(|e| e.to_string())?;
            glommio::spawn_local(async move {
                let mut buf = vec![0; READ_BYTES];
                while let Ok(bytes) = socket.read(&mut buf).await {
                    if bytes == 0 || socket.write_all(&buf[..bytes]).await.is_err() {
                        break;
                    }
                }
            })
            .detach();
        }
    })
}
