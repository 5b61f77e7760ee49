//! Makes whole hospitals up from a seed: sources with catalogues, for demonstrations and tests.
//!
//! Three hospitals have the tables of the original system (a cancer centre, a hip clinic with
//! motion trackers, chronic care at home), a fourth is a small practice. Invariants: the same seed
//! gives the same bytes; dates stand in order and figures agree with each other; memory does not
//! grow with the rows. Nobody in here exists: names come from short lists, and telephone numbers,
//! postcodes and identity numbers lie in ranges that are never issued.
//! Absent on purpose: a clock (all data ends at one fixed day) and any value of a real record.

mod cell;
mod draw;
mod fcrb;
mod khm;
mod network;
mod person;
mod picture;
mod sheets;
mod staff;
mod ustan;
mod zmc;

#[cfg(test)]
mod tests;

pub use network::{Hospital, Network, PATIENTS_MAX, SharedPatient, generate};
pub use sheets::SynthError;
pub use staff::Staff;
