//! The public face's router on a real store: what one sees of a run, and who sees it.

mod house;
mod looking;
mod operating;
mod replaying;
