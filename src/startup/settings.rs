//! The command line of the kernel, the same for the binary and for the Python package.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::startup::connection::Connection;
use crate::wire::run_mode::Backend;

/// callboard: a Jupyter kernel for Python. Usually started by Jupyter, with `-f`.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "callboard",
    version,
    after_help = "Any --Class.trait=value configures IPython, as in an IPython configuration file: \
                  --InteractiveShell.colors=nocolor, --HistoryManager.hist_file=:memory:"
)]
pub struct Settings {
    /// Connection file: where to listen, and the key that signs messages; or a registration file: whom to tell where
    /// the kernel listens. Without it a connection file is written to Jupyter's runtime folder, and its name is printed.
    #[arg(short = 'f', long = "connection-file", visible_alias = "f", value_name = "FILE")]
    pub connection_file: Option<PathBuf>,

    /// Python to run, for the `kernel` binary: a venv's bin/python, say. Default: the one in
    /// `VIRTUAL_ENV`, then python3 on PATH.
    #[arg(long, value_name = "FILE")]
    pub python: Option<PathBuf>,

    /// Address to listen on, if there is no connection file; for ipc, what the paths of the sockets start with.
    /// Default: 127.0.0.1; for ipc, a new folder that only its owner can enter.
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<String>,

    /// tcp or ipc, if there is no connection file.
    #[arg(long, default_value = "tcp", value_parser = ["tcp", "ipc"])]
    pub transport: String,

    /// Port of the shell channel, if there is no connection file; 0 lets the system choose.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    pub shell: u16,

    /// Port of the iopub channel.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    pub iopub: u16,

    /// Port of the stdin channel.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    pub stdin: u16,

    /// Port of the control channel.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    pub control: u16,

    /// Port of the heartbeat.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    pub hb: u16,

    /// Seconds after which a kernel that was asked to shut down ends, whatever Python does.
    #[arg(long, default_value = "3", value_parser = seconds, value_name = "SECONDS")]
    pub shutdown_deadline: Duration,

    /// Seconds for which a client may not read while output waits for it; after that, output of cells is dropped and
    /// the gap announced.
    #[arg(long, default_value = "10", value_parser = seconds, value_name = "SECONDS")]
    pub subscriber_patience: Duration,

    /// Seconds that the launcher has for its answer, if a registration file is given.
    #[arg(long, default_value = "15", value_parser = seconds, value_name = "SECONDS")]
    pub registration_deadline: Duration,

    /// Leave file descriptors 1 and 2 alone: output of C code and child processes goes to the terminal.
    #[arg(long)]
    pub no_fd_capture: bool,

    /// Event loop of the main thread: asyncio (uvloop where it is installed) or trio.
    #[arg(long, default_value_t, value_parser = backend, value_name = "BACKEND")]
    pub backend: Backend,

    /// What subshells are like.
    #[command(flatten)]
    pub subshells: SubshellOptions,

    /// Log to the terminal: error, warn, info, debug, trace, or a filter such as
    /// `callboard::actors=debug`. Default: `CALLBOARD_LOG`, then warn.
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// The same as `--log-level debug`.
    #[arg(long)]
    pub debug: bool,

    /// Clients such as `jupyter run script.py` hand the arguments that were for them on to the kernel.
    #[arg(hide = true)]
    ignored: Vec<String>,

    #[command(flatten)]
    shell_options: ShellOptions,

    /// The arguments for IPython's configuration; set by [`Settings::parse_args`].
    #[arg(skip)]
    pub ipython: Vec<String>,
}

/// Options of subshells (JEP 91).
#[derive(Clone, Debug, clap::Args)]
pub struct SubshellOptions {
    /// Neither offer nor make subshells.
    #[arg(long)]
    pub no_subshells: bool,

    /// Give each subshell variables of its own: what it does not have it reads from the main shell.
    #[arg(long)]
    pub isolated_subshells: bool,

    /// Handle comm messages that name a subshell in its thread, and not in the main thread.
    #[arg(long)]
    pub comms_in_subshells: bool,
}

/// Options that are passed on to IPython's application classes.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Options of IPython")]
struct ShellOptions {
    /// IPython profile to use.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,

    /// Folder of the IPython profile to use.
    #[arg(long, value_name = "FOLDER")]
    profile_dir: Option<String>,

    /// IPython's folder, instead of `IPYTHONDIR` or ~/.ipython.
    #[arg(long, value_name = "FOLDER")]
    ipython_dir: Option<String>,

    /// Another IPython configuration file to load.
    #[arg(long, value_name = "FILE")]
    config: Option<String>,

    /// IPython extension to load; may be given more than once.
    #[arg(long, value_name = "MODULE")]
    ext: Vec<String>,

    /// Set up matplotlib: inline, widget, agg ... (default: inline, once matplotlib is imported).
    #[arg(long, value_name = "BACKEND", num_args = 0..=1, require_equals = true, default_missing_value = "auto")]
    matplotlib: Option<String>,

    /// Colours: neutral, nocolor, linux, lightbg.
    #[arg(long, value_name = "THEME")]
    colors: Option<String>,

    /// How many results `Out` keeps.
    #[arg(long, value_name = "COUNT")]
    cache_size: Option<String>,

    /// Code to run at start-up, in the notebook's namespace.
    #[arg(short = 'c', value_name = "CODE")]
    code: Option<String>,
}

impl Settings {
    /// Reads the command line (without the program's name).
    ///
    /// The error's text is for the terminal; its `exit_code` is 0 for `--help`.
    pub fn parse_args(program: &'static str, args: &[String]) -> Result<Self, clap::Error> {
        let (traits, mut options) = split_traits(args);
        options.insert(0, program.to_owned());
        let mut settings = Self::try_parse_from(options)?;
        settings.ipython = settings.shell_options.as_ipython();
        for (name, value) in traits {
            match (name.as_str(), value) {
                ("--IPKernelApp.connection_file" | "--ConnectionFileMixin.connection_file", Some(file)) => {
                    settings.connection_file = Some(file.into());
                }
                (_, Some(value)) => settings.ipython.push(format!("{name}={value}")),
                (_, None) => settings.ipython.push(name),
            }
        }
        Ok(settings)
    }
}

impl Settings {
    /// Reads options that a kernelspec is to give to the kernel. The error says what is wrong with them.
    pub fn for_kernelspec(args: &[String]) -> Result<Self, String> {
        let settings = Self::parse_args("callboard", args).map_err(|error| {
            let text = error.to_string();
            let text = text.split("\n\nUsage").next().unwrap_or_default();
            text.strip_prefix("error: ").unwrap_or(text).to_owned()
        })?;
        if let Some(word) = settings.ignored.first() {
            return Err(format!("unexpected argument '{word}' found"));
        }
        let ports = [settings.shell, settings.iopub, settings.stdin, settings.control, settings.hb];
        if settings.connection_file.is_some()
            || settings.ip.is_some()
            || settings.transport != "tcp"
            || ports != [0; 5]
        {
            return Err("Jupyter itself tells a kernel where to listen: no kernelspec may".to_owned());
        }
        if settings.python.is_some() {
            return Err(
                "--python is for the `kernel` binary: run this command with the Python to run".to_owned()
            );
        }
        Ok(settings)
    }

    /// The connection that the command line describes, with a new key. `private` makes the folder of the sockets if they
    /// are files and `--ip` does not name their path.
    pub fn connection(&self, private: impl FnOnce() -> io::Result<PathBuf>) -> io::Result<Connection> {
        let default = Connection::default();
        let ip = match (&self.ip, self.transport.as_str()) {
            (Some(ip), _) => ip.clone(),
            (None, "ipc") => private()?.join("kernel").to_string_lossy().into_owned(),
            (None, _) => default.ip,
        };
        Ok(Connection {
            transport: self.transport.clone(),
            ip,
            shell_port: self.shell,
            iopub_port: self.iopub,
            stdin_port: self.stdin,
            control_port: self.control,
            hb_port: self.hb,
            ..default
        })
    }
}

impl ShellOptions {
    fn as_ipython(&self) -> Vec<String> {
        let single = [
            ("--BaseIPythonApplication.profile", &self.profile),
            ("--ProfileDir.location", &self.profile_dir),
            ("--BaseIPythonApplication.ipython_dir", &self.ipython_dir),
            ("--BaseIPythonApplication.extra_config_file", &self.config),
            ("--InteractiveShellApp.matplotlib", &self.matplotlib),
            ("--InteractiveShell.colors", &self.colors),
            ("--InteractiveShell.cache_size", &self.cache_size),
            ("--InteractiveShellApp.code_to_run", &self.code),
        ];
        let single = single.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value)));
        single
            .chain(self.ext.iter().map(|module| ("--InteractiveShellApp.extra_extensions", module)))
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|error| error.to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn backend(text: &str) -> Result<Backend, String> {
    Backend::parse(text).ok_or_else(|| "the backends are asyncio and trio".to_owned())
}

/// A trait's name and, if it was given, its value.
type Trait = (String, Option<String>);

/// Separates options of the form `--Class.trait=value` or `--Class.trait value` from the others.
fn split_traits(args: &[String]) -> (Vec<Trait>, Vec<String>) {
    let (mut traits, mut others) = (Vec::new(), Vec::new());
    let mut args = args.iter().peekable();
    while let Some(arg) = args.next() {
        let name = arg.split('=').next().unwrap_or(arg);
        let is_trait = name.strip_prefix("--").is_some_and(|name| {
            name.contains('.') && name.starts_with(|first: char| first.is_ascii_uppercase())
        });
        if !is_trait {
            others.push(arg.clone());
        } else if let Some((name, value)) = arg.split_once('=') {
            traits.push((name.to_owned(), Some(value.to_owned())));
        } else {
            let value = args.next_if(|next| !next.starts_with('-'));
            traits.push((arg.clone(), value.cloned()));
        }
    }
    (traits, others)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(args: &str) -> Result<Settings, clap::Error> {
        let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        Settings::parse_args("callboard", &args)
    }

    #[test]
    fn jupyters_way() {
        let settings = parse("-f /tmp/kernel.json").unwrap();
        assert_eq!(settings.connection_file, Some("/tmp/kernel.json".into()));
        assert_eq!(settings.shutdown_deadline, Duration::from_secs(3));
        let spelled = parse("--f=/tmp/a.json").unwrap();
        assert_eq!(spelled.connection_file, Some("/tmp/a.json".into()));
        let traitlets = parse("--IPKernelApp.connection_file=/tmp/b.json").unwrap();
        assert_eq!(traitlets.connection_file, Some("/tmp/b.json".into()));
    }

    #[test]
    fn traits_go_to_ipython_in_both_spellings() {
        let settings = parse(
            "--HistoryManager.hist_file=:memory: -f x --InteractiveShell.colors nocolor --Unknown.x=1=2 --ext a --ext b",
        )
        .unwrap();
        assert_eq!(
            settings.ipython,
            [
                "--InteractiveShellApp.extra_extensions=a",
                "--InteractiveShellApp.extra_extensions=b",
                "--HistoryManager.hist_file=:memory:",
                "--InteractiveShell.colors=nocolor",
                "--Unknown.x=1=2"
            ]
        );
    }

    #[test]
    fn a_kernelspec_gives_all_options_but_where_to_listen() {
        let parse = |args: &str| {
            let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
            Settings::for_kernelspec(&args)
        };
        let settings =
            parse("--comms-in-subshells --backend trio --InteractiveShell.colors=nocolor").unwrap();
        assert!(settings.subshells.comms_in_subshells);
        assert_eq!(settings.backend, Backend::Trio);
        for (args, told) in [
            ("--bogus", "unexpected argument '--bogus' found"),
            ("word", "unexpected argument 'word' found"),
            ("--backend x", "the backends are asyncio and trio"),
            ("-f x", "where to listen"),
            ("--hb 5", "where to listen"),
            ("--transport ipc", "where to listen"),
            ("--python /usr/bin/python3", "with the Python to run"),
        ] {
            let error = parse(args).unwrap_err();
            assert!(error.contains(told) && !error.contains("Usage"), "{args}: {error}");
        }
    }

    #[test]
    fn unknown_options_are_errors_that_name_them() {
        for args in ["--bogus", "--bogus=1", "-x", "--shell=70000", "--shutdown-deadline=-1"] {
            let error = parse(args).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{args}");
            let first = args.split('=').next().unwrap();
            assert!(error.to_string().contains(first), "{args}: {error}");
        }
    }
}
