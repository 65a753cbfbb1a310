//! Messages that no client should send.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod fields;
mod messages;
#[path = "../support/mod.rs"]
mod support;

use callboard::delivery::job::Channel;

const BOTH: [Channel; 2] = [Channel::Shell, Channel::Control];
