//! Holds a centre's data: zones, sources, catalogue, keys.

mod attribution;
pub mod catalogue;
mod check;
mod hole;
mod kind;
mod source;
mod time;
mod value;

pub use check::{CheckReport, check};
pub use catalogue::{Catalogue, CatalogueError};
pub use hole::{Finding, Hole, Lines};
pub use kind::Kind;
pub use time::{NotATime, ZonedTime};
pub use value::Value;
