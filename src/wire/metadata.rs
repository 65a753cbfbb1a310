//! The fields of a message's metadata that the kernel reads.

use serde::Deserialize;
use serde_json::Value;

use super::object::read_object;

/// The fields of a message's metadata that can name a run mode. Clients own their metadata, so fields that cannot be
/// read are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// A run mode.
    pub run_mode: Value,
    /// The tags of the cell, usually a list of texts.
    pub tags: Value,
}

impl Metadata {
    /// Reads metadata, JSON.
    pub fn read(raw: &[u8]) -> Self {
        read_object(raw).unwrap_or_default()
    }
}
