//! The texts that a user sees when a kernel cannot start, and the help.
//!
//! After a change that is meant, write the snapshots anew with `INSTA_UPDATE=always cargo nextest run` and review them.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fmt::Write;
use std::fs;
use std::io::{self, ErrorKind};
use std::time::Duration;

use callboard::startup::boot::BootError;
use callboard::startup::connection::ConnectionError;
use callboard::startup::handshake::RegistrationError;
use callboard::startup::launch_file;
use callboard::startup::settings::Settings;
use callboard::transport::zmq::BindError;
use insta::assert_snapshot;

fn parse(args: &[&str]) -> Result<Settings, clap::Error> {
    let args: Vec<String> = args.iter().map(ToString::to_string).collect();
    Settings::parse_args("callboard", &args)
}

/// Compares each text, under its heading, with the snapshot of the test.
fn check(name: &str, texts: impl IntoIterator<Item = (impl ToString, impl ToString)>) {
    assert_snapshot!(name, all(texts));
}

fn all(texts: impl IntoIterator<Item = (impl ToString, impl ToString)>) -> String {
    let mut all = String::new();
    for (heading, text) in texts {
        writeln!(all, "## {}\n{}\n", heading.to_string(), text.to_string().trim_end()).unwrap();
    }
    all
}

#[test]
fn help() {
    assert_snapshot!("help", parse(&["--help"]).unwrap_err());
}

#[test]
fn wrong_options() {
    let wrong: [&[&str]; 9] = [
        &["--bogus"],
        &["-x"],
        &["-f"],
        &["--shell=70000"],
        &["--transport=udp"],
        &["--backend=curio"],
        &["--shutdown-deadline=-1"],
        &["--subscriber-patience=soon"],
        &["--registration-deadline=1e30"],
    ];
    check("wrong_options", wrong.map(|args| (args.join(" "), parse(args).unwrap_err())));
}

#[test]
fn launch_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kernel.json");
    let ports = r#""shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5"#;
    let connection = |more: &str| format!(r#"{{{ports}, "key": "k"{more}}}"#);
    let files = [
        String::new(),
        "[]".to_owned(),
        "{".to_owned(),
        "{}".to_owned(),
        format!("{{{ports}}}"),
        connection("").replace('1', "\"x\""),
        connection("").replace('1', "70000"),
        connection("").replace('5', "0"),
        connection(r#", "transport": "udp""#),
        connection(r#", "transport": "ipc", "ip": "*""#),
        connection(r#", "signature_scheme": "hmac-md5""#),
        connection(r#", "curve_publickey": "k""#),
        connection(r#", "curve_secretkey": "k""#),
        r#"{"registration_port": 0, "key": "k"}"#.to_owned(),
        r#"{"registration_port": 5}"#.to_owned(),
        r#"{"registration_port": 5, "key": "k", "transport": "udp"}"#.to_owned(),
        r#"{"registration_port": 5, "key": "k", "shell_port": 6}"#.to_owned(),
    ];
    let errors = files.map(|text| {
        fs::write(&path, &text).unwrap();
        let error = launch_file::read(&path).unwrap_err().to_string();
        let text = if text.is_empty() { "(empty)".to_owned() } else { text };
        (text, error.replace(path.to_str().unwrap(), "kernel.json"))
    });
    check("launch_files", errors);
}

#[test]
fn files_that_cannot_be_read_or_written() {
    let path = || "/run/kernel.json".into();
    let reason = || ErrorKind::PermissionDenied.into();
    check(
        "files_that_cannot_be_read_or_written",
        [
            ("unreadable", ConnectionError::Unreadable { path: path(), reason: reason() }),
            ("unwritable", ConnectionError::Unwritable { path: path(), reason: reason() }),
        ],
    );
}

#[test]
fn registration() {
    let address = || "tcp://127.0.0.1:5".to_owned();
    let reason = || "unknown kernel".to_owned();
    check(
        "registration",
        [
            ("no way", RegistrationError::NoWay { address: address(), reason: zmq::Error::EINVAL }),
            (
                "no answer",
                RegistrationError::NoAnswer { address: address(), deadline: Duration::from_secs(15) },
            ),
            ("bad answer", RegistrationError::BadAnswer { address: address(), reason: reason() }),
            ("refused", RegistrationError::Refused { address: address(), reason: reason() }),
        ],
    );
}

#[test]
fn socket_files() {
    let kinds =
        [ErrorKind::AddrInUse, ErrorKind::AlreadyExists, ErrorKind::PermissionDenied, ErrorKind::NotFound];
    check(
        "socket_files",
        kinds.map(|kind| (format!("{kind:?}"), BindError::of_file("ipc:///run/kernel-1", &kind.into()))),
    );
}

// The system's texts differ elsewhere.
#[cfg(target_os = "linux")]
#[test]
fn sockets() {
    use callboard::transport::zmq::{Role, bind};

    let context = zmq::Context::new();
    let taken = bind(&context, Role::Router, "tcp://127.0.0.1:*", None).unwrap();
    let port = taken.address.rsplit(':').next().unwrap().to_owned();
    let long = format!("ipc:///{}", "x".repeat(200));
    let addresses = [&taken.address, "tcp://192.0.2.1:5", "udp://127.0.0.1:5", &long, "tcp://a b:5"];
    let errors = addresses.map(|address| {
        let error = bind(&context, Role::Router, address, None).err().unwrap().to_string();
        let hide = |text: &str| text.replace(&port, "PORT").replace(&"x".repeat(200), "xxx...");
        (hide(address), hide(&error))
    });
    check("sockets", errors);
}

#[test]
fn boot() {
    let reason = || io::Error::from(ErrorKind::PermissionDenied);
    check(
        "boot",
        [
            ("folder", BootError::Folder(reason())),
            ("log level", BootError::LogLevel("loud".to_owned())),
            ("signals", BootError::Signals(reason())),
            ("terminal", BootError::Terminal(reason())),
        ],
    );
}
