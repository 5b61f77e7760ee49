//! Every format that is hashed, signed, stored or sent: what its bytes are (`golden`), that
//! exactly these bytes are read back (`laws`), on values of every shape (`strategies`).

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod golden;
mod laws;
mod strategies;
