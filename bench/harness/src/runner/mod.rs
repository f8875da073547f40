//! Starts the peers' programs in turn and writes what they say.
//!
//! For each row the programs run as A B C B C A …, so that a slow minute of the machine hits all
//! of them, and none is always the first. A program is started anew each time. One that fails is not started again for that
//! row; the table says why it failed.

pub mod aims;
pub mod execute;
pub mod machine;
pub mod options;
pub mod plan;
pub mod table;
