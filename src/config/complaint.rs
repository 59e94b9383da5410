//! One thing that is wrong in a configuration, and where.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// What is wrong and what to write: `file:line:column key: message`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Complaint {
    /// The file as it was named.
    pub file: PathBuf,
    /// Line and column from 1, in characters; none if the whole is meant.
    pub position: Option<(usize, usize)>,
    /// The key with its section, or empty.
    pub key: String,
    /// What is wrong; what to write.
    pub message: String,
}

impl Complaint {
    /// About the file as a whole.
    pub(super) fn about(file: &Path, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            position: None,
            key: String::new(),
            message: message.into(),
        }
    }

    /// About what stands at byte `at` of `text`.
    pub(super) fn at(file: &Path, text: &str, at: usize) -> Self {
        Self {
            position: Some(position(text, at)),
            ..Self::about(file, "")
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some((line, column)) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        if self.key.is_empty() {
            write!(f, ": {}", self.message)
        } else {
            write!(f, " {}: {}", self.key, self.message)
        }
    }
}

fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at)];
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |last| last.chars().count())
        + 1;
    (line, column)
}
