//! The properties that the fuzz targets try. See README.md.

pub mod properties;
