//! From the command line to a kernel that answers, before Python has done anything.

use std::fs::File;
use std::io::Write;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::actors::router::{KernelFacts, SUBSHELLS};
use crate::kernel::{self, Kernel, Options, Sockets, StartError};
use crate::os;
use crate::os::files;
use crate::os::signals::ThisProcess;
use crate::os::terminal::Terminal;
use crate::startup::connection::{Connection, ConnectionError};
use crate::startup::handshake::{RegistrationError, register};
use crate::startup::launch_file::{self, LaunchFile};
use crate::startup::settings::Settings;
use crate::transport::curve::CurveKeys;
use crate::transport::zmq::{BindError, Bound, Role, bind};
use crate::wire::PROTOCOL_VERSION;
use crate::wire::content::{ConnectReply, HelpLink, KernelInfoReply, LanguageInfo, reply};

/// A kernel that listens and answers what needs no Python.
pub struct Booted {
    /// The running actors.
    pub kernel: Kernel,
    /// The options of the command line.
    pub settings: Settings,
    /// Where the sockets are.
    pub connection: Connection,
    /// The connection file.
    pub connection_file: PathBuf,
    /// Files that the kernel has made and removes at its end: those of sockets, and the connection file if it wrote it.
    pub leftovers: Vec<PathBuf>,
}

/// A kernel that cannot start. Each message says what to do.
#[derive(Debug, Error)]
pub enum BootError {
    /// The connection file.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// A port or an address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The launcher.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// The folder for ipc sockets.
    #[error("no folder can be made for the sockets: {0}. Set XDG_RUNTIME_DIR or TMPDIR to a folder of yours")]
    Folder(std::io::Error),
    /// The system's limits.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The log filter.
    #[error("{0:?} is not a log level: use error, warn, info, debug or trace, or module=level")]
    LogLevel(String),
    /// The signals.
    #[error("signals cannot be held back or handled: {0}")]
    Signals(std::io::Error),
    /// The terminal.
    #[error("the terminal cannot be used: {0}")]
    Terminal(std::io::Error),
}

/// Binds the sockets and starts the actors. Call it on the thread that is Python's main thread, or will be.
/// `python_version` is the text of `sys.version`.
pub fn boot(settings: Settings, python_version: &str) -> Result<Booted, BootError> {
    // Clients can interrupt as soon as the sockets answer, before Python has a handler
    // (`callboard.interrupts.handler`). Until then an interrupt stays pending.
    os::signals::block_sigint().map_err(BootError::Signals)?;
    // Capturing the output of cells replaces descriptor 2; logs go to the original.
    let stderr = std::io::stderr().as_fd().try_clone_to_owned();
    let terminal = Terminal::new(File::from(stderr.map_err(BootError::Terminal)?));
    start_log(&settings, terminal.clone())?;
    os::crash::install(terminal.clone()).map_err(BootError::Signals)?;
    os::panic::install(terminal);
    os::limits::raise_open_files();
    os::limits::share_memory();

    let mut leftovers = Vec::new();
    let booted = listen(&settings, &mut leftovers).and_then(|listening| {
        let Listening { sockets, connect, connection, connection_file } = listening;
        let mut process = ThisProcess::new();
        process.leftovers.clone_from(&leftovers);
        let options = Options {
            key: connection.key.clone().into_bytes(),
            facts: KernelFacts {
                kernel_info: kernel_info(python_version, !settings.subshells.no_subshells),
                connect,
            },
            shutdown_deadline: settings.shutdown_deadline,
            subscriber_patience: settings.subscriber_patience,
            parent: os::parent::from_environment(),
            watch_memory: true,
            process: Box::new(process),
            backend: settings.backend,
            comms_in_subshells: settings.subshells.comms_in_subshells,
            debugger_patience: Duration::from_secs(60),
            cell_folder: os::paths::cell_folder(),
        };
        let kernel = kernel::start(sockets, options)?;
        Ok((kernel, connection, connection_file))
    });
    match booted {
        Ok((kernel, connection, connection_file)) => {
            Ok(Booted { kernel, settings, connection, connection_file, leftovers })
        }
        Err(error) => {
            for path in &leftovers {
                files::remove(path);
            }
            Err(error)
        }
    }
}

/// Sockets that clients can connect to, and the connection file with their addresses.
struct Listening {
    sockets: Sockets<Bound>,
    connect: ConnectReply,
    connection: Connection,
    connection_file: PathBuf,
}

/// Binds the sockets that the settings, or the launch file that they name, ask for. Adds the files that have to be removed
/// at the end to `leftovers`, also if it fails.
fn listen(settings: &Settings, leftovers: &mut Vec<PathBuf>) -> Result<Listening, BootError> {
    let context = zmq::Context::new();
    let given = match settings.connection_file.as_deref() {
        Some(path) => Some((path, launch_file::read(path)?)),
        None => None,
    };
    let mut connection = match &given {
        Some((_, LaunchFile::Connection(connection))) => connection.clone(),
        Some((_, LaunchFile::Registration(registration))) => registration.connection(),
        None => {
            let private = || {
                let folder = files::new_private_folder()?;
                leftovers.push(folder.clone());
                Ok(folder)
            };
            settings.connection(private).map_err(BootError::Folder)?
        }
    };
    let curve = connection.curve().map_err(|reason| {
        let path = settings.connection_file.clone().unwrap_or_default();
        ConnectionError::Malformed { path, reason }
    })?;
    let (sockets, connect) = bind_all(&context, &mut connection, curve.as_ref(), leftovers)?;
    let connection_file = match &given {
        Some((path, LaunchFile::Connection(_))) => path.to_path_buf(),
        Some((_, LaunchFile::Registration(registration))) => {
            let path = write(&connection, leftovers)?;
            register(registration, &context, &connect, settings.registration_deadline)?;
            path
        }
        None => write(&connection, leftovers)?,
    };
    // Warnings come last: a fatal error is then the only line.
    if let Some((path, _)) = &given
        && files::others_can_read(path)
    {
        tracing::warn!(
            path = %path.display(),
            "others can read the connection file, and so run code as you: chmod 600 it, and start the kernel anew"
        );
    }
    let addresses = [&sockets.shell, &sockets.control, &sockets.stdin, &sockets.iopub, &sockets.heartbeat];
    if curve.is_none()
        && let Some(open) = addresses.into_iter().find(|bound| is_open(&bound.address))
    {
        tracing::warn!(
            address = open.address,
            "other machines can connect, and whoever is on the way can read all that is sent: listen on 127.0.0.1 \
             and use an SSH tunnel, or encrypt (KernelManager.transport_encryption = \"required\")"
        );
    }
    if given.is_none() {
        announce(&connection_file);
    }
    Ok(Listening { sockets, connect, connection, connection_file })
}

/// Whether other machines can reach a bound address, in libzmq's notation.
fn is_open(address: &str) -> bool {
    let Some(host) =
        address.strip_prefix("tcp://").and_then(|rest| rest.rsplit_once(':')).map(|(host, _)| host)
    else {
        return false;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // Without the zone of a link-local address.
    let host = host.split('%').next().unwrap_or(host);
    // An address that does not parse is not a loopback address.
    host.parse::<IpAddr>().map_or(true, |ip| !ip.to_canonical().is_loopback())
}

fn write(connection: &Connection, leftovers: &mut Vec<PathBuf>) -> Result<PathBuf, ConnectionError> {
    let path = connection.write(None)?;
    leftovers.push(path.clone());
    Ok(path)
}

fn bind_all(
    context: &zmq::Context,
    connection: &mut Connection,
    curve: Option<&CurveKeys>,
    leftovers: &mut Vec<PathBuf>,
) -> Result<(Sockets<Bound>, ConnectReply), BindError> {
    let mut bind = |role, port: u16| -> Result<(Bound, u16), BindError> {
        match connection.socket_file(port) {
            Some(_) => bind_file(context, role, connection, port, curve, leftovers),
            None => {
                let bound = bind(context, role, &connection.address(port), curve)?;
                // The last part of the address is the port; the system has chosen it if 0 was asked for.
                let port =
                    bound.address.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(port);
                Ok((bound, port))
            }
        }
    };
    let (shell, shell_port) = bind(Role::Router, connection.shell_port)?;
    let (control, control_port) = bind(Role::Router, connection.control_port)?;
    let (stdin, stdin_port) = bind(Role::Router, connection.stdin_port)?;
    let (iopub, iopub_port) = bind(Role::Publisher, connection.iopub_port)?;
    let (heartbeat, hb_port) = bind(Role::Heartbeat, connection.hb_port)?;
    *connection =
        Connection { shell_port, iopub_port, stdin_port, control_port, hb_port, ..connection.clone() };
    let connect =
        ConnectReply { status: reply::Ok, shell_port, iopub_port, stdin_port, hb_port, control_port };
    Ok((Sockets { shell, control, stdin, iopub, heartbeat }, connect))
}

/// Binds an ipc socket. Port 0 stands for the first number that is free; other kernels then find it taken.
fn bind_file(
    context: &zmq::Context,
    role: Role,
    connection: &Connection,
    port: u16,
    curve: Option<&CurveKeys>,
    leftovers: &mut Vec<PathBuf>,
) -> Result<(Bound, u16), BindError> {
    let chosen = port != 0;
    let ports = if chosen { port..=port } else { 1..=u16::MAX };
    let mut taken = None;
    for port in ports {
        let (address, Some(path)) = (connection.address(port), connection.socket_file(port)) else {
            break;
        };
        let ready = files::make_folder_of(&path)
            .and_then(|()| if chosen { files::check_free(&path) } else { files::reserve(&path) });
        let bound = match ready {
            Ok(()) => bind(context, role, &address, curve),
            Err(error) => Err(BindError::of_file(&address, &error)),
        };
        match bound {
            Err(error) if error.in_use && !chosen => taken = Some(error),
            Err(error) => return Err(error),
            Ok(bound) => {
                leftovers.push(path);
                return Ok((bound, port));
            }
        }
    }
    let all_taken = || BindError::of_file(&connection.address(port), &std::io::ErrorKind::AddrInUse.into());
    Err(taken.unwrap_or_else(all_taken))
}

fn start_log(settings: &Settings, terminal: Terminal) -> Result<(), BootError> {
    let level = match (&settings.log_level, settings.debug) {
        (Some(level), _) => level.clone(),
        (None, true) => "debug".to_owned(),
        (None, false) => std::env::var("CALLBOARD_LOG").unwrap_or_else(|_| "warn".to_owned()),
    };
    // A filter takes any unknown word for the name of a module, and would log nothing.
    let known = level.split(',').all(|part| part.contains('=') || part.parse::<LevelFilter>().is_ok());
    let filter = EnvFilter::try_new(&level).ok().filter(|_| known).ok_or(BootError::LogLevel(level))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(terminal);
    // Fails if the program that embeds the kernel has set up a log already: that one is used.
    if let Err(error) = log.try_init() {
        tracing::debug!(%error, "the log was set up before");
    }
    Ok(())
}

/// Prints the connection file's path to the terminal, for a kernel that was started by hand.
fn announce(connection_file: &std::path::Path) {
    let mut stdout = std::io::stdout();
    let text = format!(
        "Connection file: {0}\nTo connect another client to this kernel, use:\n    --existing {0}\n",
        connection_file.display()
    );
    if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        tracing::warn!(%error, connection_file = %connection_file.display(), "nobody could be told where to connect");
    }
}

fn kernel_info(python_version: &str, subshells: bool) -> KernelInfoReply {
    let version = python_version.split_whitespace().next().unwrap_or_default();
    let minor = version.rsplit_once('.').map_or(version, |(minor, _)| minor);
    let link = |text: &str, url: String| HelpLink { text: text.to_owned(), url };
    KernelInfoReply {
        status: reply::Ok,
        protocol_version: PROTOCOL_VERSION.to_owned(),
        implementation: "callboard".to_owned(),
        implementation_version: env!("CARGO_PKG_VERSION").to_owned(),
        language_info: LanguageInfo {
            name: "python".to_owned(),
            version: version.to_owned(),
            mimetype: "text/x-python".to_owned(),
            file_extension: ".py".to_owned(),
            pygments_lexer: Some("ipython3".to_owned()),
            codemirror_mode: Some(serde_json::json!({"name": "ipython", "version": 3})),
            nbconvert_exporter: Some("python".to_owned()),
        },
        banner: format!(
            "Python {python_version}\nType 'copyright', 'credits' or 'license' for more information\n\
             callboard {} -- a Jupyter kernel on actors, with IPython's shell. Type '?' for help.\n",
            env!("CARGO_PKG_VERSION")
        ),
        debugger: Some(true),
        help_links: vec![
            link("Python Reference", format!("https://docs.python.org/{minor}")),
            link("IPython Reference", "https://ipython.readthedocs.io/en/stable/".to_owned()),
            link("NumPy Reference", "https://docs.scipy.org/doc/numpy/reference/".to_owned()),
            link("SciPy Reference", "https://docs.scipy.org/doc/scipy/reference/".to_owned()),
            link("Matplotlib Reference", "https://matplotlib.org/contents.html".to_owned()),
            link("SymPy Reference", "https://docs.sympy.org/latest/index.html".to_owned()),
            link("pandas Reference", "https://pandas.pydata.org/pandas-docs/stable/".to_owned()),
        ],
        // JEP 92 / protocol 5.5: what clients may switch on.
        supported_features: std::iter::once("debugger")
            .chain(subshells.then_some(SUBSHELLS))
            .map(str::to_owned)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_other_machines_can_reach_are_open() {
        for local in [
            "tcp://127.0.0.1:5",
            "tcp://127.9.0.1:5",
            "tcp://[::1]:5",
            "tcp://[::ffff:127.0.0.1]:5",
            "ipc:///a:5",
        ] {
            assert!(!is_open(local), "{local}");
        }
        for open in [
            "tcp://0.0.0.0:5",
            "tcp://[::]:5",
            "tcp://192.0.2.1:5",
            "tcp://[fe80::1%eth0]:5",
            "tcp://*:5",
            "tcp://name:5",
        ] {
            assert!(is_open(open), "{open}");
        }
    }
}
