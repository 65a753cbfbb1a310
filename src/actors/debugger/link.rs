//! The connection to the debugger in Python, which dials in.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use actix::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tracing::debug;

use crate::wire::dap;

/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// What comes from a connection.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct FromLink {
    /// The number that the connection was given: what is left of an earlier one may come late.
    pub link: u64,
    /// What has come.
    pub what: What,
}

/// What comes from a connection.
#[derive(Debug)]
pub enum What {
    /// The debugger has dialled in.
    Open(Link),
    /// A message.
    Body(Vec<u8>),
    /// There is no connection any more; why.
    Closed(String),
}

/// Sends messages to the debugger. Dropping it closes the connection.
#[derive(Debug)]
pub struct Link(mpsc::UnboundedSender<Vec<u8>>);

impl Link {
    /// Sends a message. What cannot be sent is lost with the connection, whose end is told.
    pub fn send(&self, body: &[u8]) {
        // The only error is that the writer has ended.
        drop(self.0.send(dap::frame(body)));
    }
}

/// Where what comes from a connection goes.
struct Sink {
    link: u64,
    to: Recipient<FromLink>,
}

impl Sink {
    fn send(&self, what: What) {
        self.to.do_send(FromLink { link: self.link, what });
    }
}

/// Listens on a port of the loopback interface for one connection, for so long, and serves it. Returns the port.
///
/// What dials in has to be the debugger: it learns the port, and a token, from this process alone, and shows the token in
/// its first message (debugpy's `access_token`).
pub fn listen(patience: Duration, link: u64, to: Recipient<FromLink>) -> io::Result<u16> {
    let to = Sink { link, to };
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let listener = TcpListener::from_std(listener)?;
    actix_rt::spawn(async move {
        match tokio::time::timeout(patience, listener.accept()).await {
            Ok(Ok((stream, _))) => serve(stream, to).await,
            Ok(Err(error)) => to.send(What::Closed(error.to_string())),
            Err(_) => to.send(What::Closed(format!("it did not connect within {patience:?}"))),
        }
    });
    Ok(port)
}

async fn serve(stream: TcpStream, to: Sink) {
    // A step waits for several small messages in turn.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "the debugger's connection keeps small messages back");
    }
    let (incoming, mut outgoing) = stream.into_split();
    let (sender, mut waiting) = mpsc::unbounded_channel::<Vec<u8>>();
    to.send(What::Open(Link(sender)));
    actix_rt::spawn(async move {
        while let Some(framed) = waiting.recv().await {
            if let Err(error) = outgoing.write_all(&framed).await {
                debug!(%error, "the debugger does not read any more");
                break;
            }
        }
        // Tells the other side, which closes too: that ends the reading.
        drop(outgoing.shutdown().await);
    });
    let why = read(incoming, &to).await;
    to.send(What::Closed(why));
}

/// Reads messages until the end. Returns why there are no more.
async fn read(mut stream: OwnedReadHalf, to: &Sink) -> String {
    let mut reader = dap::Reader::default();
    let mut chunk = vec![0; CHUNK];
    loop {
        match stream.read(&mut chunk).await {
            Ok(0) => return "the debugger has closed the connection".to_owned(),
            Ok(count) => reader.feed(&chunk[..count]),
            Err(error) => return error.to_string(),
        }
        loop {
            match reader.next_body() {
                Ok(Some(body)) => to.send(What::Body(body)),
                Ok(None) => break,
                Err(error) => return format!("the debugger has sent {error}"),
            }
        }
    }
}
