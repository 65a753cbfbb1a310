//! Notices that memory is running out, of the machine or of the container (cgroup), before the kernel is killed for it.
//!
//! Nothing is polled. Sources of events, as far as the system has them:
//! - Pressure stall information (PSI, `Documentation/accounting/psi.rst` of Linux) of the cgroup, or of the machine:
//!   processes wait for memory.
//! - cgroup v2: `memory.events` changes when a limit was reached.
//! - cgroup v1: `memory.pressure_level`, and a threshold of `memory.usage_in_bytes`.
//!
//! An event is only a hint to measure: caches of files count as used too, and are given up when memory is needed. A
//! warning is due only if little is left without them.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tracing::{debug, warn};

/// Memory is low when less than one part in this many is left, and less than [`ENOUGH`].
const PART: u64 = 10;

/// Bytes that are enough, however large the memory is.
const ENOUGH: u64 = 2 << 30;

/// The threshold of PSI, in microseconds: 50 ms of waiting within 2 s. Windows of two seconds need no privileges (Linux
/// 6.4).
const PRESSURE: &[u8] = b"some 50000 2000000\0";

/// How long events are ignored after one: they come in bursts.
const PAUSE: Duration = Duration::from_secs(1);

/// Memory that is running out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Bytes in use, without caches that can be given up.
    pub used: u64,
    /// Bytes in all.
    pub limit: u64,
    /// Whether the limit is that of a cgroup, and not the machine's memory.
    pub of_cgroup: bool,
}

impl Shortage {
    fn is_one(self) -> bool {
        let left = self.limit.saturating_sub(self.used);
        left < margin(self.limit)
    }
}

fn margin(limit: u64) -> u64 {
    (limit / PART).min(ENOUGH)
}

/// Watches as long as the program runs, and calls `tell` each time that memory is found to be low. Call it on a thread
/// with an event loop of tokio.
pub fn watch(tell: impl Fn(Shortage) + Clone + 'static) {
    let groups = groups(Path::new("/proc/self/cgroup"), Path::new("/proc/self/mountinfo"));
    let machine = Scope::Machine(PathBuf::from("/proc"));
    for scope in groups.into_iter().chain([machine]) {
        for (source, interest) in scope.sources() {
            // SAFETY: the file stays open while it is watched: the `AsyncFd` owns it.
            match unsafe { AsyncFd::register_with_interest(source, interest) } {
                Ok(source) => {
                    actix_rt::spawn(listen(source, interest, scope.clone(), tell.clone()));
                }
                Err(error) => debug!(%error, ?scope, "memory is not watched"),
            }
        }
    }
}

async fn listen(source: AsyncFd<File>, interest: Interest, scope: Scope, tell: impl Fn(Shortage)) {
    loop {
        match source.ready(interest).await {
            Ok(mut ready) => ready.clear_ready(),
            Err(error) => return warn!(%error, ?scope, "memory is no longer watched"),
        }
        if interest == Interest::READABLE {
            // The content does not matter, only that there was an event.
            let mut buffer = [0_u8; 4096];
            if let Err(error) = source.get_ref().read(&mut buffer)
                && error.kind() != io::ErrorKind::WouldBlock
            {
                return warn!(%error, ?scope, "memory is no longer watched");
            }
        }
        if let Some(found) = scope.measure()
            && found.is_one()
        {
            tell(found);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The cgroup, or machine, whose memory it is.
#[derive(Clone, Debug)]
enum Scope {
    /// A folder of the cgroup v2 file system.
    Cgroup2(PathBuf),
    /// A folder of the memory controller of cgroup v1.
    Cgroup1(PathBuf),
    /// The machine; the folder of `proc`.
    Machine(PathBuf),
}

impl Scope {
    fn sources(&self) -> Vec<(File, Interest)> {
        let mut sources = Vec::new();
        let mut add = |made: io::Result<File>, interest: Interest| match made {
            Ok(file) => sources.push((file, interest)),
            Err(error) => debug!(%error, scope = ?self, "a source of memory events is not there"),
        };
        match self {
            Self::Cgroup2(folder) => {
                add(changes(&folder.join("memory.events")), Interest::READABLE);
                add(pressure(&folder.join("memory.pressure")), Interest::PRIORITY);
            }
            Self::Cgroup1(folder) => {
                let listen = |file: &str, when: &str| event_of_v1(folder, file, when);
                add(listen("memory.pressure_level", "medium"), Interest::READABLE);
                if let Some(Shortage { limit, .. }) = self.measure() {
                    let threshold = limit - margin(limit);
                    add(listen("memory.usage_in_bytes", &threshold.to_string()), Interest::READABLE);
                }
            }
            Self::Machine(proc) => add(pressure(&proc.join("pressure/memory")), Interest::PRIORITY),
        }
        sources
    }

    /// None if there is no limit, or it cannot be read.
    fn measure(&self) -> Option<Shortage> {
        let number = |path: PathBuf| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
        match self {
            Self::Cgroup2(folder) => {
                let limit = number(folder.join("memory.max"))?;
                let cache = field(&folder.join("memory.stat"), "inactive_file").unwrap_or(0);
                let used = number(folder.join("memory.current"))?.saturating_sub(cache);
                Some(Shortage { used, limit, of_cgroup: true })
            }
            Self::Cgroup1(folder) => {
                let stat = folder.join("memory.stat");
                // The limits of the groups above count as well. "No limit" is a number larger than any machine's memory.
                let limit = field(&stat, "hierarchical_memory_limit")?;
                let machine = field(Path::new("/proc/meminfo"), "MemTotal:")? * 1024;
                let cache = field(&stat, "total_inactive_file").unwrap_or(0);
                let used = number(folder.join("memory.usage_in_bytes"))?.saturating_sub(cache);
                (limit < machine).then_some(Shortage { used, limit, of_cgroup: true })
            }
            Self::Machine(proc) => {
                let meminfo = proc.join("meminfo");
                let limit = field(&meminfo, "MemTotal:")? * 1024;
                let available = field(&meminfo, "MemAvailable:")? * 1024;
                Some(Shortage { used: limit.saturating_sub(available), limit, of_cgroup: false })
            }
        }
    }
}

/// The number behind a name in a file of lines `name number ...`.
fn field(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let fields: HashMap<_, _> =
        text.lines().filter_map(|line| line.split_once(char::is_whitespace)).collect();
    fields.get(name)?.split_whitespace().next()?.parse().ok()
}

/// The cgroups whose limits apply to this process: of version 2 all up to the root, of version 1 its own.
fn groups(membership: &Path, mounts: &Path) -> Vec<Scope> {
    let (Ok(membership), Ok(mounts)) = (fs::read_to_string(membership), fs::read_to_string(mounts)) else {
        return Vec::new();
    };
    let mut scopes = Vec::new();
    // See proc(5): ID parent major:minor root mount-point options ... - type source super-options
    for mount in mounts.lines() {
        let Some((before, after)) = mount.split_once(" - ") else {
            continue;
        };
        let before: Vec<_> = before.split(' ').collect();
        let after: Vec<_> = after.split(' ').collect();
        let ([_, _, _, root, point, ..], [kind, _, options, ..]) = (&before[..], &after[..]) else {
            continue;
        };
        let is_memory = |controllers: &str| controllers.split(',').any(|name| name == "memory");
        let version2 = *kind == "cgroup2";
        let version1 = *kind == "cgroup" && is_memory(options);
        if !version1 && !version2 {
            continue;
        }
        // See cgroups(7): hierarchy:controllers:path
        let path = membership.lines().find_map(|line| {
            let [hierarchy, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>()[..] else {
                return None;
            };
            let this = if version2 { hierarchy == "0" } else { is_memory(controllers) };
            this.then_some(path)
        });
        let Some(path) = path else {
            continue;
        };
        // In a container the root of the mount is the container's own group.
        let below = Path::new(path).strip_prefix(root).or_else(|_| Path::new(path).strip_prefix("/"));
        let Ok(below) = below else {
            continue;
        };
        let mut folder = Path::new(point).join(below);
        if !folder.is_dir() {
            folder = PathBuf::from(point);
        }
        if version2 {
            let up = folder.ancestors().take_while(|above| above.starts_with(point));
            let limited = up.filter(|above| above.join("memory.events").exists());
            scopes.extend(limited.map(|above| Scope::Cgroup2(above.to_owned())));
        } else {
            scopes.push(Scope::Cgroup1(folder));
        }
    }
    scopes
}

/// Readable whenever a file has changed.
fn changes(path: &Path) -> io::Result<File> {
    let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    inotify::add_watch(&watch, path, WatchFlags::MODIFY)?;
    Ok(watch.into())
}

/// Has a priority event (`POLLPRI`) whenever processes had to wait for memory.
fn pressure(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    file.write_all(PRESSURE)?;
    Ok(file)
}

/// Readable whenever a file of a cgroup of version 1 reaches the threshold `when`.
fn event_of_v1(folder: &Path, file: &str, when: &str) -> io::Result<File> {
    let watched = File::open(folder.join(file))?;
    let event = File::from(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
    let request = format!("{} {} {when}", event.as_raw_fd(), watched.as_raw_fd());
    OpenOptions::new()
        .write(true)
        .open(folder.join("cgroup.event_control"))?
        .write_all(request.as_bytes())?;
    Ok(event)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn write(folder: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn memory_is_low_when_little_is_left_of_it() {
        let shortage = |used, limit| Shortage { used, limit, of_cgroup: true }.is_one();
        assert!(!shortage(0, GIB));
        assert!(!shortage(GIB / 10 * 9, GIB));
        assert!(shortage(GIB / 10 * 9 + 10, GIB));
        assert!(shortage(2 * GIB, GIB));
        assert!(!shortage(500 * GIB, 512 * GIB), "12 GiB are enough");
        assert!(shortage(511 * GIB, 512 * GIB));
    }

    #[test]
    fn caches_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        write(
            folder.path(),
            &[
                ("memory.max", "1000\n"),
                ("memory.current", "990\n"),
                ("memory.stat", "anon 1\ninactive_file 600\n"),
                ("proc/meminfo", "MemTotal:  8 kB\nMemFree:   1 kB\nMemAvailable:   6 kB\n"),
            ],
        );
        let group = Scope::Cgroup2(folder.path().to_owned());
        assert_eq!(group.measure(), Some(Shortage { used: 390, limit: 1000, of_cgroup: true }));
        let machine = Scope::Machine(folder.path().join("proc"));
        assert_eq!(machine.measure(), Some(Shortage { used: 2048, limit: 8192, of_cgroup: false }));
        write(folder.path(), &[("memory.max", "max\n")]);
        assert_eq!(group.measure(), None);
    }

    #[test]
    fn the_groups_of_a_process_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let point = at("cg").display().to_string();
        write(
            folder.path(),
            &[
                ("membership", "4:cpu,memory:/ab/c\n0::/outer/inner\n"),
                (
                    "mounts",
                    &format!(
                        "1 0 0:1 / {point}/two rw - cgroup2 cgroup2 rw\n\
                         2 0 0:1 /ab {point}/one rw - cgroup cgroup rw,cpu,memory\n\
                         3 0 0:1 / {point}/freezer rw - cgroup cgroup rw,freezer\nnonsense\n"
                    ),
                ),
                ("cg/two/outer/memory.events", ""),
                ("cg/two/outer/inner/memory.events", ""),
                ("cg/one/c/memory.stat", ""),
            ],
        );
        let found = groups(&at("membership"), &at("mounts"));
        let found: Vec<_> = found.iter().map(|scope| format!("{scope:?}")).collect();
        let expected = [
            Scope::Cgroup2(at("cg/two/outer/inner")),
            Scope::Cgroup2(at("cg/two/outer")),
            Scope::Cgroup1(at("cg/one/c")),
        ];
        assert_eq!(found, expected.map(|scope| format!("{scope:?}")));
    }

    #[test]
    fn an_event_of_a_group_whose_memory_runs_out_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[("memory.max", "1000"), ("memory.current", "10"), ("memory.events", "max 0")]);
        let scope = Scope::Cgroup2(folder.path().to_owned());
        let (sender, told) = mpsc::channel();
        actix_rt::System::new().block_on(async {
            let (source, interest) = scope.sources().into_iter().next().unwrap();
            // SAFETY: the file stays open while it is watched: the `AsyncFd` owns it.
            let source = unsafe { AsyncFd::register_with_interest(source, interest).unwrap() };
            let listening =
                actix_rt::spawn(listen(source, interest, scope.clone(), move |it| sender.send(it).unwrap()));
            // Memory is not low yet; and the second event comes during the pause.
            fs::write(folder.path().join("memory.events"), "max 1").unwrap();
            tokio::task::yield_now().await;
            fs::write(folder.path().join("memory.current"), "950").unwrap();
            fs::write(folder.path().join("memory.events"), "max 2").unwrap();
            let found = loop {
                if let Ok(found) = told.try_recv() {
                    break found;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            };
            assert_eq!(found, Shortage { used: 950, limit: 1000, of_cgroup: true });
            listening.abort();
        });
    }
}
