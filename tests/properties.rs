//! Properties that hold for any input of clients, those of the fuzz targets, with generated input.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../fuzz/src/properties.rs"]
mod properties;

use std::fs;
use std::path::Path;

use callboard::wire::run_mode::{Backend, CallerOptions, RunMode};
use callboard::wire::{DELIMITER, MessageType, Metadata, Signer};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::FileFailurePersistence;
use serde_json::{Value, json};

use properties::{KEY, SENT};

/// Names of fields that mean something in headers, metadata and contents.
const FIELDS: [&str; 27] = [
    "msg_id",
    "msg_type",
    "session",
    "username",
    "date",
    "version",
    "subshell_id",
    "run_mode",
    "tags",
    "code",
    "silent",
    "store_history",
    "user_expressions",
    "allow_stdin",
    "stop_on_error",
    "cursor_pos",
    "detail_level",
    "omit_sections",
    "hist_access_type",
    "n",
    "stop",
    "pattern",
    "target_name",
    "restart",
    "comm_id",
    "data",
    "value",
];

/// Words that mean something somewhere.
const WORDS: [&str; 20] = [
    "queue",
    "task",
    "thread",
    "#",
    "# ",
    "##",
    " ",
    "\n",
    "name=",
    "backend=",
    "use_uvloop=",
    "asyncio",
    "trio",
    "true",
    "False",
    "\"",
    "'",
    "=",
    "execute_request",
    "tail",
];

type Property = fn(&[u8]);

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 300,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        ..ProptestConfig::default()
    }
}

/// Any text, often with words that mean something.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => select(&WORDS[..]).prop_map(str::to_owned),
        2 => any::<String>(),
        1 => any::<char>().prop_map(|c| c.to_string().repeat(500)),
    ];
    vec(part, 0..6).prop_map(|parts| parts.concat())
}

/// Any JSON.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![vec(inner.clone(), 0..4).prop_map(Value::from), object_of(inner)]
    })
}

/// An object of fields, many of which are known.
fn object_of(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    let name = prop_oneof![6 => select(&FIELDS[..]).prop_map(str::to_owned), 1 => any::<String>()];
    btree_map(name, value, 0..8).prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

/// JSON as text, and what is nearly JSON: cut, or with other bytes in it, or nested deep.
fn nearly(json: impl Strategy<Value = Value>) -> impl Strategy<Value = Vec<u8>> {
    (json, 0..20_u8, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(json, what, at, byte)| {
        let mut text = json.to_string().into_bytes();
        let at = at.index(text.len());
        match what {
            0 => text.truncate(at),
            1 => text[at] = byte,
            2 => text.insert(at, byte),
            3 => {
                let depth = usize::from(byte);
                text = format!(
                    r#"{{"msg_id":"1","msg_type":"a","code":"","comm_id":"a","data":{}{}}}"#,
                    "[".repeat(depth),
                    "]".repeat(depth)
                )
                .into_bytes();
            }
            _ => {}
        }
        text
    })
}

/// A header that can mostly be read.
fn header() -> impl Strategy<Value = Vec<u8>> {
    let usual = (text(), select(MessageType::KNOWN), object_of(value())).prop_map(|(id, kind, mut more)| {
        more["msg_id"] = id.into();
        more["msg_type"] = kind.as_str().into();
        more
    });
    nearly(prop_oneof![3 => usual, 1 => object_of(value()), 1 => value()])
}

/// Frames, from what is no message at all to one that is right.
fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let frame = || {
        prop_oneof![
            3 => vec(any::<u8>(), 0..40),
            1 => Just(DELIMITER.to_vec()),
            1 => nearly(value()),
        ]
    };
    let message =
        (vec(frame(), 0..3), header(), nearly(object_of(value())), frame(), vec(frame(), 0..3), 0..4_u8);
    let message = message.prop_map(|(mut frames, header, object, content, buffers, signed)| {
        let dicts = [&header[..], b"{}", &object, &content];
        let signature = match signed {
            0 => Signer::new(b"another").sign(dicts),
            1 => String::new(),
            2 => Signer::new(KEY).sign(dicts).to_uppercase(),
            _ => Signer::new(KEY).sign(dicts),
        };
        frames.extend([DELIMITER.to_vec(), signature.into_bytes()]);
        frames.extend(dicts.map(<[u8]>::to_vec));
        frames.extend(buffers);
        frames
    });
    prop_oneof![vec(frame(), 0..9), message]
}

/// Any mode that can be asked for.
fn mode() -> impl Strategy<Value = RunMode> {
    let name = text().prop_filter("a name is not empty", |name| !name.is_empty());
    let options = (option::of(name), option::of(any::<bool>()), option::of(any::<bool>()));
    prop_oneof![
        Just(RunMode::Queue),
        Just(RunMode::Task),
        options.prop_map(|(name, trio, use_uvloop)| {
            let backend = trio.map(|trio| if trio { Backend::Trio } else { Backend::Asyncio });
            RunMode::Thread(CallerOptions { name, backend, use_uvloop })
        }),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn frames_are_a_message_or_refused(frames in frames()) {
        properties::decode_all(&frames);
        properties::frames(&frames.join(&b'\n'));
    }

    #[test]
    fn a_header_is_read_or_refused(header in header()) {
        properties::headers(&header);
    }

    #[test]
    fn content_is_what_its_type_says_or_refused(
        kind in prop_oneof![8 => select(&SENT[..]), 1 => text().prop_map(|name| MessageType::parse(&name))],
        content in nearly(prop_oneof![8 => object_of(value()), 1 => value()]),
    ) {
        properties::content_of(&kind, &content);
    }

    #[test]
    fn whatever_text_names_a_run_mode_or_none(text in text(), metadata in nearly(object_of(value()))) {
        properties::run_modes(text.as_bytes());
        properties::run_modes(&metadata);
    }

    #[test]
    fn a_run_mode_is_read_from_all_of_its_spellings(mode in mode()) {
        let text = properties::rendered(&mode);
        prop_assert_eq!(RunMode::parse(&text), Ok(mode.clone()));
        let metadata = json!({"run_mode": text, "tags": ["task"]}).to_string();
        prop_assert_eq!(RunMode::of(None, &Metadata::read(metadata.as_bytes()), "# queue", true), Ok(mode));
        properties::run_modes(text.as_bytes());
    }
}

#[test]
fn the_corpora_of_the_fuzz_targets_hold() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let targets: [(&str, Property); 5] = [
        ("frames", properties::frames),
        ("headers", properties::headers),
        ("contents", properties::contents),
        ("run_modes", properties::run_modes),
        ("dap", properties::dap),
    ];
    for (target, property) in targets {
        let mut count = 0;
        for entry in fs::read_dir(corpus.join(target)).unwrap() {
            property(&fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 5, "{target}");
    }
}

#[test]
fn every_type_that_a_client_may_send_is_tried() {
    for kind in MessageType::KNOWN {
        let name = kind.as_str();
        let sent =
            name.ends_with("_request") || name.starts_with("comm_") || *kind == MessageType::InputReply;
        let by_kernel = [MessageType::InputRequest, MessageType::CommInfoReply].contains(kind);
        assert_eq!(SENT.contains(kind), sent && !by_kernel, "{name}");
    }
}
