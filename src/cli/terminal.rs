//! What stands behind stdout and stderr: a terminal with a width and colours, or something that takes bytes.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use super::plain;

/// What is known of stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terminal {
    /// Columns; none where it is no terminal, or one that does not say.
    pub(super) width: Option<usize>,
    /// Whether a person looks at it.
    pub(super) shown: bool,
    /// Whether text may be coloured.
    pub(super) colours: bool,
}

impl Terminal {
    /// What stands behind stdout. `NO_COLOR` (<https://no-color.org>) and `TERM=dumb` switch colours off.
    pub(super) fn of_stdout() -> Self {
        let stdout = io::stdout();
        let shown = stdout.is_terminal();
        let size = rustix::termios::tcgetwinsize(&stdout).ok();
        let width = size.map(|size| usize::from(size.ws_col));
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_none_or(|term| term == "dumb");
        Self {
            width: width.filter(|width| shown && *width > 0),
            shown,
            colours: shown && !dumb && set("NO_COLOR").is_none(),
        }
    }

    /// `text` in `colour`, if there are colours.
    pub(super) fn coloured(&self, text: &str, colour: Option<Colour>) -> String {
        match colour {
            Some(colour) if self.colours => format!("\x1b[{}m{text}\x1b[0m", colour as u8),
            _ => text.to_owned(),
        }
    }
}

/// The few colours in use, by their ANSI codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Colour {
    Bold = 1,
    Red = 31,
    Green = 32,
    Yellow = 33,
    Cyan = 36,
}

/// Turns on stderr while something is waited for; nothing where stderr is no terminal.
pub(super) struct Spinner(ProgressBar);

impl Spinner {
    /// A spinner that turns, or one that shows nothing.
    pub(super) fn start(quiet: bool) -> Self {
        if quiet || !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }

    /// Says what is waited for.
    pub(super) fn say(&self, message: &str) {
        self.0.set_message(plain::line(message));
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
