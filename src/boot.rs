//! From the command line to a kernel that answers, before Python has done anything.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::actors::router::{Facts, SUBSHELLS};
use crate::connection::{Connection, ConnectionError};
use crate::kernel::{self, Kernel, Options, Sockets, StartError};
use crate::os;
use crate::os::capture::duplicate;
use crate::os::signals::ThisProcess;
use crate::settings::Settings;
use crate::transport::zmq::{BindError, Bound, Role, bind};
use crate::wire::PROTOCOL_VERSION;
use crate::wire::content::{ConnectReply, HelpLink, KernelInfoReply, LanguageInfo, reply};

/// A kernel that listens and answers what needs no Python.
pub struct Booted {
    /// The running actors.
    pub kernel: Kernel,
    /// What the command line said.
    pub settings: Settings,
    /// Where the sockets are.
    pub connection: Connection,
    /// The connection file.
    pub connection_file: PathBuf,
    /// Whether the kernel wrote that file itself, and removes it at its end.
    pub owns_connection_file: bool,
}

/// Why a kernel cannot start. Each message is for the person who tried, and says what to do.
#[derive(Debug, Error)]
pub enum BootError {
    /// The connection file.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// A port or an address.
    #[error(transparent)]
    Bind(#[from] BindError),
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

/// Binds the sockets and starts the actors. To be called on the thread that is Python's main one.
/// `python_version` is what `sys.version` says or will say.
pub fn boot(settings: Settings, python_version: &str) -> Result<Booted, BootError> {
    // Clients can interrupt from the moment the sockets answer, which is before Python has a handler; until it
    // has one (`callboard.interrupt`), an interrupt waits.
    os::signals::block_sigint().map_err(BootError::Signals)?;
    // Output of cells will take the place of descriptor 2: logs keep the real one.
    let terminal = Arc::new(File::from(duplicate(2).map_err(BootError::Terminal)?));
    start_log(&settings, terminal.clone())?;
    os::crash::install(&terminal).map_err(BootError::Signals)?;
    os::panic::install(terminal);

    let given = settings.connection_file.clone();
    let owns_connection_file = given.is_none();
    let mut connection = match &given {
        Some(path) => Connection::read(path)?,
        None => settings.connection(),
    };
    let context = zmq::Context::new();
    let (sockets, connect) = bind_all(&context, &mut connection)?;
    let mut process = ThisProcess::new();
    let connection_file = if let Some(path) = given {
        path
    } else {
        let path = connection.write(None)?;
        process.leftover = Some(path.clone());
        announce(&path);
        path
    };
    let options = Options {
        key: connection.key.clone().into_bytes(),
        facts: Facts {
            kernel_info: kernel_info(python_version, !settings.subshells.no_subshells),
            connect,
            comms_in_subshells: settings.subshells.comms_in_subshells,
        },
        shutdown_deadline: settings.shutdown_deadline,
        subscriber_patience: settings.subscriber_patience,
        parent: os::parent::from_environment(),
        watch_memory: true,
        process: Box::new(process),
        backend: settings.backend,
    };
    let kernel = kernel::start(sockets, options)?;
    Ok(Booted { kernel, settings, connection, connection_file, owns_connection_file })
}

fn bind_all(
    context: &zmq::Context,
    connection: &mut Connection,
) -> Result<(Sockets<Bound>, ConnectReply), BindError> {
    let bind = |role, port: u16| -> Result<(Bound, u16), BindError> {
        let bound = bind(context, role, &connection.address(port))?;
        // The last part of the address is the port, chosen by the system if it was 0.
        let port = bound.address.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(port);
        Ok((bound, port))
    };
    let (shell, shell_port) = bind(Role::Router, connection.shell_port)?;
    let (control, control_port) = bind(Role::Router, connection.control_port)?;
    let (stdin, stdin_port) = bind(Role::Router, connection.stdin_port)?;
    let (iopub, iopub_port) = bind(Role::Publisher, connection.iopub_port)?;
    let (heartbeat, hb_port) = bind(Role::Router, connection.hb_port)?;
    *connection =
        Connection { shell_port, iopub_port, stdin_port, control_port, hb_port, ..connection.clone() };
    let connect =
        ConnectReply { status: reply::Ok, shell_port, iopub_port, stdin_port, hb_port, control_port };
    Ok((Sockets { shell, control, stdin, iopub, heartbeat }, connect))
}

fn start_log(settings: &Settings, terminal: Arc<File>) -> Result<(), BootError> {
    let level = match (&settings.log_level, settings.debug) {
        (Some(level), _) => level.clone(),
        (None, true) => "debug".to_owned(),
        (None, false) => std::env::var("CALLBOARD_LOG").unwrap_or_else(|_| "warn".to_owned()),
    };
    // A filter would take any other word for the name of a module, and log nothing.
    let known = level.split(',').all(|part| part.contains('=') || part.parse::<LevelFilter>().is_ok());
    let filter = EnvFilter::try_new(&level).ok().filter(|_| known).ok_or(BootError::LogLevel(level))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(terminal);
    // Fails if the program that embeds the kernel has a log of its own, which then is the one to use.
    if let Err(error) = log.try_init() {
        tracing::debug!(%error, "the log was set up before");
    }
    Ok(())
}

/// Tells the person at the terminal where the kernel listens; nobody reads it when Jupyter started us.
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
        debugger: Some(false),
        help_links: vec![
            link("Python Reference", format!("https://docs.python.org/{minor}")),
            link("IPython Reference", "https://ipython.readthedocs.io/en/stable/".to_owned()),
            link("NumPy Reference", "https://docs.scipy.org/doc/numpy/reference/".to_owned()),
            link("SciPy Reference", "https://docs.scipy.org/doc/scipy/reference/".to_owned()),
            link("Matplotlib Reference", "https://matplotlib.org/contents.html".to_owned()),
            link("SymPy Reference", "https://docs.sympy.org/latest/index.html".to_owned()),
            link("pandas Reference", "https://pandas.pydata.org/pandas-docs/stable/".to_owned()),
        ],
        // JEP 92 / protocol 5.5: what clients may switch on. The debugger is not there yet.
        supported_features: if subshells { vec![SUBSHELLS.to_owned()] } else { Vec::new() },
    }
}
