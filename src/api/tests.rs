//! The routers of both faces on a real store: what one sees of a run, who sees it, and what operators do.

mod acting;
mod describing;
mod events;
mod house;
mod listing;
mod looking;
mod office;
mod operating;
mod replaying;
mod sessions;
