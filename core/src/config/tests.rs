use super::*;

fn hardware() -> Hardware {
    Hardware { cpus: vec![0, 1, 2, 3], memory_bytes: 16 << 30 }
}

/// Settings from flags, environment and a file called `f.toml`.
fn resolve(flags: &[(&str, &str)], env: &[(&str, &str)], file: &str) -> Result<Config, ConfigError> {
    let flags = flags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let env: BTreeMap<String, String> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let read = |path: &Path| match path.to_str() {
        Some("f.toml") => Ok(file.to_owned()),
        Some("secret") => Ok("s3cret\nnot this\n".to_owned()),
        _ => Err(std::io::Error::from(std::io::ErrorKind::NotFound)),
    };
    Given::collect(&flags, &|name| env.get(name).cloned(), &read)?.resolve(&hardware(), &read)
}

fn error(flags: &[(&str, &str)], env: &[(&str, &str)], file: &str) -> String {
    resolve(flags, env, file).expect_err("this is no configuration").to_string()
}

const FILE: (&str, &str) = ("config", "f.toml");

#[test]
fn nothing_given_is_loopback_all_cores_and_a_share_of_the_memory() {
    let config = resolve(&[], &[], "").expect("defaults are sound");
    assert_eq!(config.address().to_string(), "127.0.0.1:6379");
    assert_eq!(config.data_dir, Path::new("pinion-data"));
    assert_eq!(config.cpus, [0, 1, 2, 3]);
    assert!(config.memory_bytes < 8 << 30 && config.memory_bytes > 4 << 30);
    assert_eq!((config.groups, config.clients_max, config.protected), (None, 10_000, true));
    assert!(config.password.is_none());
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = "port = 1\nbind = '::1'\ncores = [2, 3]\nmemory = '2GiB'\nmaxclients = 7";
    let env = [("PINION_PORT", "2"), ("PINION_MAXCLIENTS", "8")];
    let config = resolve(&[FILE, ("port", "3")], &env, file).expect("sound");
    assert_eq!((config.port, config.clients_max), (3, 8));
    assert_eq!((config.bind.to_string(), config.cpus), ("::1".to_owned(), vec![2, 3]));
    assert_eq!(config.memory_bytes, 2 << 30);
    let named_by_env = resolve(&[], &[("PINION_CONFIG", "f.toml")], "data-dir = '/x'").expect("sound");
    assert_eq!(named_by_env.data_dir, Path::new("/x"));
    let losses = |file: &str| resolve(&[FILE], &[], file).expect("sound").accept_losses;
    assert_eq!(
        (losses("accept-loss = [16, 1]"), losses("accept_loss = 17"), losses("")),
        (vec![16, 1], vec![17], vec![])
    );
}

/// O7: an error names the setting, where it stands, what was given and what is possible.
#[test]
fn errors_say_which_setting_from_where_and_what_was_expected() {
    for (text, parts) in [
        (error(&[("port", "70000")], &[], ""), ["--port", "70000", "0 to 65535"]),
        (error(&[("core-ports", "7000")], &[], ""), ["--core-ports", "7000", "cluster-enabled yes"]),
        (
            error(&[("core-ports", "6376"), ("cluster-enabled", "yes")], &[], ""),
            ["--core-ports", "6376", "leave out 6379"],
        ),
        (error(&[("core-ports", "65533")], &[], ""), ["--core-ports", "65533", "0 to 65532"]),
        (error(&[], &[("PINION_PORT", "x")], ""), ["PINION_PORT", "\"x\"", "whole number"]),
        (error(&[FILE], &[], "port = 'abc'"), ["port in f.toml", "abc", "65535"]),
        (error(&[FILE], &[], "port = true"), ["port in f.toml", "true", "whole number"]),
        (error(&[FILE], &[], "prot = 1"), ["f.toml", "prot", "did you mean port"]),
        (error(&[FILE], &[], "data_dri = 1"), ["f.toml", "data_dri", "did you mean data_dir"]),
        (error(&[FILE], &[], "port = = 1"), ["f.toml", "not TOML", "line 1"]),
        (error(&[("config", "absent")], &[], ""), ["absent", "cannot be read", "not found"]),
        (error(&[("cores", "0,9")], &[], ""), ["--cores", "0,9", "0,1,2,3"]),
        (error(&[("cores", "1,1")], &[], ""), ["--cores", "1,1", "each once"]),
        (error(&[("memory", "1MiB")], &[], ""), ["--memory", "1MiB", "384MiB to 16GiB"]),
        (error(&[("memory", "64 GiB")], &[], ""), ["--memory", "64 GiB", "16GiB"]),
        (error(&[("bind", "localhost")], &[], ""), ["--bind", "localhost", "127.0.0.1"]),
        (error(&[("groups", "0")], &[], ""), ["--groups", "0", "1 to 1024"]),
        (error(&[("accept-loss", "16,x")], &[], ""), ["--accept-loss", "16,x", "like 16 or 16,17"]),
        (error(&[("accept-loss", "16,16")], &[], ""), ["--accept-loss", "16,16", "each once"]),
        (error(&[FILE], &[], "accept_loss = true"), ["accept_loss in f.toml", "true", "list of groups"]),
        (error(&[("protected-mode", "maybe")], &[], ""), ["--protected-mode", "maybe", "yes or no"]),
    ] {
        for part in parts {
            assert!(text.contains(part), "{part:?} is missing in: {text}");
        }
    }
}

/// O6: nobody listens to a network without a password by accident.
#[test]
fn listening_beyond_loopback_needs_a_password_or_the_word() {
    let text = error(&[("bind", "0.0.0.0")], &[], "");
    assert!(text.contains("--requirepass-file") && text.contains("--protected-mode no"), "{text}");
    for extra in [("requirepass", "x"), ("requirepass-file", "secret"), ("protected-mode", "no")] {
        assert!(resolve(&[("bind", "0.0.0.0"), extra], &[], "").is_ok(), "{extra:?}");
    }
    assert!(resolve(&[("bind", "0.0.0.0"), ("requirepass", "")], &[], "").is_err(), "an empty one is none");
    assert!(resolve(&[("bind", "127.0.0.9")], &[], "").is_ok());
}

/// O6: a password is never shown.
#[test]
fn a_password_is_read_and_never_shown() {
    let config = resolve(&[("requirepass-file", "secret")], &[], "").expect("sound");
    assert_eq!(config.password.as_ref().map(Secret::bytes), Some(&b"s3cret"[..]));
    assert!(!format!("{config:?}").contains("s3cret"));
    assert!(config.shown.iter().all(|(_, value)| !value.contains("s3cret")));
    let both = error(&[("requirepass-file", "secret"), ("requirepass", "x")], &[], "");
    assert!(both.contains("keep one"), "{both}");
    let wrong = error(&[FILE], &[], "requirepass = 12345");
    assert!(!wrong.contains("12345") && wrong.contains("requirepass in f.toml"), "{wrong}");
}

#[test]
fn bytes_take_the_usual_units() {
    for (text, bytes) in [
        ("1", 1),
        ("2k", 2048),
        ("3 KiB", 3072),
        ("4MB", 4_000_000),
        ("5mib", 5 << 20),
        ("6G", 6 << 30),
        ("7b", 7),
    ] {
        assert_eq!(parse_bytes(text, 0, u64::MAX), Ok(bytes), "{text}");
    }
    for text in ["", "x", "1.5G", "-1", "1 parsec", "99999999999T"] {
        assert!(parse_bytes(text, 0, u64::MAX).is_err(), "{text}");
    }
}

#[test]
fn the_command_line_takes_every_setting_of_the_table() {
    command().debug_assert();
    let matches =
        command().try_get_matches_from(["pinion", "--port", "7", "--data-dir=/d", "--cores", "0-2"]);
    let flags = flags(&matches.expect("these are flags"));
    assert_eq!(flags.len(), 3);
    assert_eq!(flags["cores"], "0-2");
    let config = Given::collect(&flags, &|_| None, &|_| unreachable!("no file is named"));
    let config = config.and_then(|given| given.resolve(&hardware(), &|_| unreachable!("no file is named")));
    assert_eq!(config.expect("sound").cpus, [0, 1, 2]);
    assert!(command().try_get_matches_from(["pinion", "--prot", "7"]).is_err());
}
