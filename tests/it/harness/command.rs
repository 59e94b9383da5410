//! The program under test as a command: its exit code and what it said, on pipes or on a terminal of a given size.

use std::{
    fs::File,
    io::Read,
    os::fd::OwnedFd,
    process::{Child, Command, Output, Stdio},
    sync::Arc,
    thread,
};

use rustix::{pty, termios};

use super::{gate::Watched, process::PROGRAM};

/// What a command said, and its exit code.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The program with these arguments, and with nothing of the environment that could change what it does.
pub(crate) fn command<A: AsRef<str>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(
        arguments
            .into_iter()
            .map(|argument| argument.as_ref().to_owned()),
    );
    command
        .env_clear()
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn tell(mut command: Command) -> Told {
    told(command.output().expect("run"))
}

/// The same of one that was started with pipes.
pub(crate) fn told(output: Output) -> Told {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Told {
        code: output.status.code().expect("a code"),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// A program on a terminal of its own, and all that it has shown there.
pub(crate) struct OnTerminal {
    child: Child,
    shown: Arc<Watched<Shown>>,
}

struct Shown {
    bytes: Vec<u8>,
    over: bool,
}

impl OnTerminal {
    /// Starts `command` with stdin, stdout and stderr on a terminal so many columns wide.
    pub(crate) fn start(mut command: Command, columns: u16) -> Self {
        let ours = pty::openpt(pty::OpenptFlags::RDWR | pty::OpenptFlags::NOCTTY).expect("pty");
        pty::grantpt(&ours).expect("grant");
        pty::unlockpt(&ours).expect("unlock");
        let name = pty::ptsname(&ours, Vec::new()).expect("name");
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
        let theirs = rustix::fs::open(name, flags, rustix::fs::Mode::empty()).expect("open");
        let size = termios::Winsize {
            ws_row: 24,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        termios::tcsetwinsize(&theirs, size).expect("size");
        let end = |fd: &OwnedFd| Stdio::from(fd.try_clone().expect("end"));
        command
            .stdin(end(&theirs))
            .stdout(end(&theirs))
            .stderr(end(&theirs));
        command.env("TERM", "xterm");
        let child = command.spawn().expect("start");
        // The end of the program is the end of the terminal only if nobody else holds it.
        drop((command, theirs));
        let shown = Arc::new(Watched::new(Shown {
            bytes: Vec::new(),
            over: false,
        }));
        let showing = Arc::clone(&shown);
        let mut ours = File::from(ours);
        thread::spawn(move || {
            let mut piece = [0; 4096];
            // A terminal that nobody holds any more is an error on Linux.
            while let Ok(n @ 1..) = ours.read(&mut piece) {
                showing.change(|shown| shown.bytes.extend_from_slice(&piece[..n]));
            }
            showing.change(|shown| shown.over = true);
        });
        Self { child, shown }
    }

    /// Waits until `text` has been shown.
    pub(crate) fn wait_for(&self, text: &str) {
        self.shown.wait(text, |shown| {
            let all = String::from_utf8_lossy(&shown.bytes);
            assert!(
                !shown.over || all.contains(text),
                "{text:?} is not in {all:?}"
            );
            all.contains(text).then_some(())
        });
    }

    pub(crate) fn interrupt(&self) {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.expect("pid"), rustix::process::Signal::INT)
            .expect("signal");
    }

    /// Waits for the end: the exit code, and all that was shown.
    pub(crate) fn end(mut self) -> (i32, String) {
        let status = self.child.wait().expect("wait");
        let bytes = self.shown.wait("the terminal's end", |shown| {
            shown.over.then(|| shown.bytes.clone())
        });
        (
            status.code().expect("a code"),
            String::from_utf8_lossy(&bytes).into_owned(),
        )
    }
}
