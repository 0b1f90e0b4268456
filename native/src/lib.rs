//! The compiled transcoder of headrace.
//!
//! Each function is the twin of a Python one in headrace, which is the reference: what comes out is the same, byte for
//! byte. Whatever a twin would refuse, and what is too rare to be written twice, is declined here with its place; headrace
//! then asks the Python way, which takes it or says in its own words why not. So nothing is passed through unchecked, and
//! an error reads the same with and without this crate.

#![forbid(unsafe_code)]

pub mod base64;
pub mod fault;
pub mod moment;
pub mod number;
pub mod object;
pub mod page;
pub mod text;

#[cfg(feature = "python")]
mod python;
