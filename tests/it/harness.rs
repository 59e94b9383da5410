//! What the tests are made of: the real program, scripted servers on either side of it, raw connections.

mod books;
mod command;
mod disk;
mod gate;
mod process;
mod server;
mod signature;
mod upgrading;
mod wire;

pub(crate) use books::{assert_balanced, lines};
pub(crate) use command::{OnTerminal, Told, command, tell, told};
pub(crate) use disk::{SmallDisk, fill};
pub(crate) use gate::{Gate, eventually};
pub(crate) use process::{PROGRAM, Raincheck, RunHandle, Setup, free_port, try_get};
pub(crate) use server::{Answer, Seen, Server};
pub(crate) use signature::{cerebrium_signature, standard_signature};
pub(crate) use wire::{Ask, Reply, Wire, encoded, header, read_body, read_head};
