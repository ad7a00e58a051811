//! The one table of commands: dispatch, arity, documentation and introspection all come from it.
//!
//! Texts, flags and categories are those that redis-server 7.0.15 answers to COMMAND INFO and COMMAND DOCS; lists of words
//! are separated by blanks.

use super::{Action, CommandError};
use crate::resp::Request;

mod containers;
mod rows;

pub use rows::{COUNT, TABLE};

/// Turns the arguments of a request, whose arity is right, into what is to be done.
pub type Parse = for<'a> fn(Request<'a>) -> Result<Action<'a>, CommandError<'a>>;

/// What is known of one command.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Its name in small letters; of a subcommand `container|name`.
    pub name: &'static str,
    /// Count of arguments, the name included; negative: at least that many.
    pub arity: i32,
    /// Flags.
    pub flags: &'static str,
    /// ACL categories.
    pub categories: &'static str,
    /// Hints for clients and proxies.
    pub tips: &'static str,
    /// Where its keys stand, if it has any.
    pub keys: Option<Keys>,
    /// How its keys behind the first one are used, if that is not how the first one is.
    pub second_key: Option<&'static str>,
    /// The part of the documentation it belongs to.
    pub group: &'static str,
    /// The Redis version that introduced it.
    pub since: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Its cost.
    pub complexity: &'static str,
    /// Since when it is deprecated, and what to use instead.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// What it contains.
    pub subcommands: &'static [Spec],
    /// Its parser.
    pub parse: Parse,
}

/// Where the keys of a command stand among its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Index of the first.
    pub first: i32,
    /// Index of the last; -1 is the last argument.
    pub last: i32,
    /// Distance between two.
    pub step: i32,
    /// How they are used.
    pub flags: &'static str,
    /// A remark on that.
    pub notes: &'static str,
}

/// Where a command is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On the core that holds the connection.
    Local,
    /// By the owner of its keys, or by all groups; changes nothing.
    Read,
    /// By the owner of its keys, or by all groups; logged.
    Write,
}

impl Spec {
    /// Whether `count` arguments, the name included, are a right number.
    pub fn takes(&self, count: usize) -> bool {
        let count = i64::try_from(count).expect("requests are bounded");
        if self.arity >= 0 { count == i64::from(self.arity) } else { count >= -i64::from(self.arity) }
    }

    /// Whether `flag` is among its flags.
    pub fn has_flag(&self, flag: &str) -> bool {
        self.flags.split_ascii_whitespace().any(|own| own == flag)
    }

    /// Where it is carried out.
    pub fn kind(&self) -> Kind {
        if self.has_flag("write") {
            Kind::Write
        } else if self.has_flag("readonly") {
            Kind::Read
        } else {
            Kind::Local
        }
    }

    /// Its name as error messages of a subcommand's parent quote it.
    pub fn short_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, name)| name)
    }
}

impl Keys {
    /// Indices of the keys among `count` arguments; none if there are not enough.
    pub fn indices(&self, count: usize) -> impl Iterator<Item = usize> + use<> {
        let count = i32::try_from(count).expect("requests are bounded");
        let last = if self.last < 0 { count + self.last } else { self.last };
        let end = if last < count { last } else { -1 };
        (self.first..=end).step_by(self.step as usize).map(|index| index as usize)
    }
}

const EMPTY: Spec = Spec {
    name: "",
    arity: 0,
    flags: "",
    categories: "",
    tips: "",
    keys: None,
    second_key: None,
    group: "",
    since: "",
    summary: "",
    complexity: "",
    deprecated: None,
    subcommands: &[],
    parse: |_| Err(CommandError::Syntax),
};
