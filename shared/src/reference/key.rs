//! A key of the configuration, and a section of keys.

/// Kind of the value that a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// An absolute path.
    Path,
    /// "30s", "500ms", "1m 30s".
    Duration,
    /// "512MiB", "2GiB".
    Size,
    /// A whole number within these limits.
    Integer(i64, i64),
    /// The same, or a word that stands for one.
    IntegerOr(i64, i64, &'static str),
    /// A number from 0 to 1.
    Fraction,
    /// true or false.
    Boolean,
    /// A file mode, "0640" or 0o640.
    Mode,
    /// "SIGTERM".
    Signal,
    /// "127.0.0.1:8080", "unix:/path", "udp:127.0.0.1:5353".
    Address,
    /// A program and its arguments.
    Command,
    /// Texts.
    Texts,
    /// Numbers.
    Numbers,
    /// Texts, or one text with commas between them.
    Words,
    /// Signals.
    Signals,
    /// Free names with a text each.
    Map,
    /// Levels of the log by target: a text such as "my_app=debug,hyper=warn", or a table.
    Levels,
    /// A word of these.
    Choice(&'static [&'static str]),
    /// Keys of its own.
    Table(&'static [Key]),
    /// Any number of such tables.
    Tables(&'static [Key]),
    /// A word or a table.
    ChoiceOrTable(&'static [&'static str], &'static [Key]),
    /// true, false, or a table that says more than true.
    BooleanOrTable(&'static [Key]),
}

/// When a changed value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// From the next generation on: a restart or a reload.
    Restart,
    /// A reload changes it in place.
    Reload,
    /// With a new start of the supervisor.
    Start,
    /// At once, when the file has changed.
    Live,
}

impl Applies {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Restart => "from the next restart or reload on",
            Self::Reload => "by a reload, in place",
            Self::Start => "with a new start of the supervisor",
            Self::Live => "at once, when the file changes",
        }
    }
}

/// A key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Kind of its value.
    pub kind: Kind,
    /// As TOML writes it; empty: unset.
    pub default: &'static str,
    /// For a key without a default: a value as TOML writes it.
    pub example: &'static str,
    /// When a change counts.
    pub applies: Applies,
    /// True if its value is shown to nobody.
    pub secret: bool,
    /// True for a key that its table cannot be without.
    pub required: bool,
    /// Its effect, in sentences.
    pub doc: &'static str,
}

/// A section of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// Its name.
    pub name: &'static str,
    /// Its purpose.
    pub doc: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

pub(super) const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { name, kind, default, example: "", applies: Applies::Restart, secret: false, required: false, doc }
}

pub(super) const fn unset(name: &'static str, kind: Kind, example: &'static str, doc: &'static str) -> Key {
    Key { name, kind, default: "", example, applies: Applies::Restart, secret: false, required: false, doc }
}

impl Key {
    pub(super) const fn at(mut self, applies: Applies) -> Self {
        self.applies = applies;
        self
    }

    /// The same key in another table, where it is unset by default.
    pub(super) const fn unset_in_table(self, example: &'static str, doc: &'static str) -> Self {
        unset(self.name, self.kind, example, doc)
    }

    pub(super) const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    pub(super) const fn required(mut self) -> Self {
        self.required = true;
        self
    }
}
