//! Opening, and what a start finds.
