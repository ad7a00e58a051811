//! Which command a reply is counted for.

use crate::command::{COUNT, CommandId, TABLE};
use crate::resp::Request;

/// Where the labels of a command begin: its own, then those of its subcommands.
static FIRST: [u16; COUNT] = {
    let mut first = [0; COUNT];
    let (mut id, mut next) = (0, 0);
    while id < COUNT {
        first[id] = next;
        next += 1 + TABLE[id].subcommands.len() as u16;
        id += 1;
    }
    assert!(next < Label::REJECTED);
    first
};

/// A command or a subcommand, or none; and whether it was refused before anything was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(u16);

impl Default for Label {
    fn default() -> Self {
        Self::NONE
    }
}

impl Label {
    const REJECTED: u16 = 1 << 15;
    /// What is no command of the table.
    pub const NONE: Self = Self(u16::MAX);

    /// That of a command.
    #[must_use]
    pub fn of_command(command: CommandId) -> Self {
        Self(FIRST[command.index()])
    }

    /// That of a request: of its subcommand, where the command is a container.
    #[inline]
    #[must_use]
    pub fn of(command: CommandId, request: &Request<'_>) -> Self {
        let own = Self::of_command(command);
        let subcommands = command.spec().subcommands;
        if subcommands.is_empty() || request.len() < 2 {
            return own;
        }
        let name = request.arg(1);
        let is_named = |sub: &crate::command::Spec| sub.short_name().as_bytes().eq_ignore_ascii_case(name);
        subcommands.iter().position(is_named).map_or(own, |sub| Self(own.0 + 1 + sub as u16))
    }

    /// The same, refused before anything was done.
    #[must_use]
    pub const fn rejected(self) -> Self {
        Self(self.0 | Self::REJECTED)
    }

    /// Whether it was.
    #[must_use]
    pub const fn is_rejected(self) -> bool {
        self.0 & Self::REJECTED != 0
    }

    pub(super) const fn at(place: usize) -> Self {
        Self(place as u16)
    }

    /// Its number among all labels.
    #[must_use]
    pub const fn place(self) -> Option<usize> {
        if self.0 == Self::NONE.0 { None } else { Some((self.0 & !Self::REJECTED) as usize) }
    }

    /// Itself as a number, for a sibling core.
    #[must_use]
    pub fn code(self) -> u64 {
        u64::from(self.0)
    }

    /// The label of a [`Label::code`].
    #[must_use]
    pub const fn from_code(code: u64) -> Self {
        Self(code as u16)
    }

    /// The name: `get`, `client|id`.
    #[must_use]
    pub fn name(self) -> &'static str {
        let Some(place) = self.place() else { return "unknown" };
        let command = FIRST.partition_point(|&first| usize::from(first) <= place) - 1;
        match place - usize::from(FIRST[command]) {
            0 => TABLE[command].name,
            sub => TABLE[command].subcommands[sub - 1].name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::lookup;
    use crate::resp::limits::Limits;
    use crate::resp::{Arguments, Next, Parser};

    fn label(line: &str) -> Label {
        let mut arguments = Arguments::new();
        let limits = Limits { authenticated: true, bulk_bytes_max: 1 << 20 };
        let line = format!("{line}\r\n");
        let Next::Request { request, .. } = Parser::default().next(line.as_bytes(), &mut arguments, &limits)
        else {
            panic!("{line} is a request")
        };
        Label::of(lookup(request.name()).expect("a command of the table"), &request)
    }

    #[test]
    fn every_command_and_subcommand_has_a_label_of_its_own() {
        let mut places = Vec::new();
        for spec in TABLE.iter().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands)) {
            let label = label(&spec.name.replace('|', " "));
            assert_eq!((label.name(), label.rejected().name()), (spec.name, spec.name));
            assert!(label.rejected().is_rejected() && !label.is_rejected());
            places.push(label.place());
        }
        let expected: Vec<_> = (0..places.len()).map(Some).collect();
        assert_eq!(places, expected);
        assert_eq!(Label::NONE.rejected().place(), None);
    }
}
