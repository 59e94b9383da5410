//! What two processes say to each other: lines of JSON over a unix socket; file descriptors come with the first byte.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg, sockopt::socket_peercred,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::UnixStream,
};

/// How many sockets can be passed on (the system's SCM_MAX_FD).
pub(super) const MOST: usize = 253;
/// The longest line, in bytes.
const LONGEST: usize = 256 * 1024;

/// One line. A program of another version may know others: what is not understood ends the upgrade.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// Old to new: these sockets, by the addresses of the configuration, in the order of the descriptors.
    Take(Vec<String>),
    /// Old to new: no, and why.
    Refused(String),
    /// New to old: everything is served.
    Ready,
    /// Old to new: nothing more is accepted here.
    Done,
}

/// A connection between the two.
#[derive(Debug)]
pub(super) struct Line {
    stream: UnixStream,
    /// The other one's process id.
    pub(super) pid: Option<u32>,
}

impl Line {
    /// Takes a connection, if the other side is of our user or root.
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        let other = socket_peercred(&stream)?;
        if other.uid != rustix::process::geteuid() && !other.uid.is_root() {
            let text = format!(
                "user {} has no right to an upgrade here",
                other.uid.as_raw()
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        let pid = u32::try_from(other.pid.as_raw_nonzero().get()).ok();
        Ok(Self { stream, pid })
    }

    pub(super) async fn send(
        &mut self,
        message: &Message,
        sockets: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let (first, rest) = line.split_at(1);
        let stream = &self.stream;
        stream
            .async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
                let mut with = SendAncillaryBuffer::new(&mut space);
                if !sockets.is_empty() && !with.push(SendAncillaryMessage::ScmRights(sockets)) {
                    return Err(io::Error::other("too many sockets"));
                }
                let sent = sendmsg(
                    stream.as_fd(),
                    &[IoSlice::new(first)],
                    &mut with,
                    SendFlags::NOSIGNAL,
                );
                Ok(sent?)
            })
            .await?;
        self.stream.write_all(rest).await
    }

    /// The next message, and the sockets that came with it. An end of the connection is an error.
    pub(super) async fn receive(&mut self) -> io::Result<(Message, Vec<OwnedFd>)> {
        let (first, sockets) = self.first_byte().await?;
        let mut line = vec![first];
        while *line.last().unwrap_or(&b'\n') != b'\n' {
            if line.len() > LONGEST {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "too long a message",
                ));
            }
            line.push(self.stream.read_u8().await?);
        }
        Ok((serde_json::from_slice(&line)?, sockets))
    }

    async fn first_byte(&self) -> io::Result<(u8, Vec<OwnedFd>)> {
        let stream = &self.stream;
        stream
            .async_io(Interest::READABLE, || {
                let mut byte = [0];
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
                let mut with = RecvAncillaryBuffer::new(&mut space);
                let came = recvmsg(
                    stream.as_fd(),
                    &mut [IoSliceMut::new(&mut byte)],
                    &mut with,
                    RecvFlags::CMSG_CLOEXEC,
                )?;
                if came.bytes == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                if came.flags.contains(ReturnFlags::CTRUNC) {
                    return Err(io::Error::other("sockets were lost on the way"));
                }
                let sockets = with.drain().filter_map(|message| match message {
                    RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
                    _ => None,
                });
                Ok((byte[0], sockets.flatten().collect()))
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (Line, Line) {
        let (one, other) = UnixStream::pair().unwrap();
        (Line::new(one).unwrap(), Line::new(other).unwrap())
    }

    #[tokio::test]
    async fn sockets_arrive_with_their_message() {
        let (mut old, mut new) = pair();
        assert_eq!(old.pid, Some(std::process::id()));
        let sockets: Vec<_> = (0..40)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let fds: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
        let sent = Message::Take(vec!["[::]:1".into(); 40]);
        let (went, came) = tokio::join!(old.send(&sent, &fds), new.receive());
        went.unwrap();
        let (message, came) = came.unwrap();
        assert_eq!(message, sent);
        let address = |socket: TcpListener| socket.local_addr().unwrap();
        let came: Vec<_> = came.into_iter().map(|fd| address(fd.into())).collect();
        let sent: Vec<_> = sockets.into_iter().map(address).collect();
        assert_eq!(came, sent);
        new.send(&Message::Ready, &[]).await.unwrap();
        assert_eq!(old.receive().await.unwrap().0, Message::Ready);
    }

    #[tokio::test]
    async fn what_is_not_understood_and_an_end_are_errors() {
        let (mut old, mut new) = pair();
        new.stream.write_all(b"{\"later\":1}\n").await.unwrap();
        assert!(old.receive().await.is_err());
        new.stream.write_all(b"\"rea").await.unwrap();
        drop(new);
        assert!(old.receive().await.is_err());
    }

    #[tokio::test]
    async fn a_message_without_end_is_given_up() {
        let (mut old, mut new) = pair();
        let endless = async { while new.stream.write_all(&[b'x'; 4096]).await.is_ok() {} };
        let given_up = async {
            let error = old.receive().await.unwrap_err();
            drop(old);
            error
        };
        let (error, ()) = tokio::join!(given_up, endless);
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
