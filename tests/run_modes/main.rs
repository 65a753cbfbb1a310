//! Run modes: where a cell runs, after the others or beside them.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod at_once;
mod failures;
mod places;
#[path = "../support/mod.rs"]
mod support;

use callboard::delivery::job::Channel;
use callboard::wire::MessageType;
use callboard::wire::content::ExecuteRequest;
use serde_json::json;
use support::{Sent, TestKernel};

const BOTH: [Channel; 2] = [Channel::Shell, Channel::Control];

/// The places where a client can name a run mode.
const PLACES: [&str; 4] = ["header", "metadata", "tag", "first line"];

/// A cell whose mode is named in one of the [`PLACES`].
fn with_mode(
    kernel: &mut TestKernel,
    channel: Channel,
    subshell_id: Option<&str>,
    place: &str,
    mode: &str,
    content: ExecuteRequest,
) -> Sent {
    let mut header = kernel.header_in(subshell_id, &MessageType::ExecuteRequest);
    let (mut metadata, mut content) = (json!({"cellId": "a", "tags": ["x"]}), content);
    match place {
        "header" => header.run_mode = Some(json!(mode)),
        "metadata" => metadata["run_mode"] = json!(mode),
        "tag" => metadata["tags"] = json!(["x", mode]),
        "first line" => content.code = format!("# {mode}\n{}", content.code),
        _ => {}
    }
    kernel.send_with(channel, &header, &metadata, &content)
}

/// The cell has run, on this thread.
#[track_caller]
fn ran_on(kernel: &mut TestKernel, channel: Channel, sent: &Sent, thread: &str) {
    let story = kernel.iopub.stories(&[sent], |last| last == "idle").remove(0);
    assert_eq!(story, format!("busy input stdout:{thread} idle"));
    assert_eq!(kernel.line(channel).replies(&[sent]), ["ok"]);
}

/// The name of the thread that was started last.
fn last_started(kernel: &TestKernel) -> String {
    kernel.started().last().unwrap().spec.name.clone()
}
