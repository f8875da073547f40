//! How many Ps a program gets when nobody says: what the machine will really run at once.
//!
//! # Problem
//!
//! In a container the number of cores is the wrong number: a quota of 2 cores on a machine of 64
//! with 64 busy threads uses the quota up in the first 3 ms of each 100 ms, and then everything
//! stands still for the other 97.
//!
//! # Rule (Go's, since 1.25)
//!
//! `min(cores in the affinity mask, max(2, quota rounded up))`. Never below two for the quota's sake:
//! with one P everything would wait for the collector. Unlike Go, the quota is the smallest of
//! *all* cgroups from ours up to the root that we can see: Kubernetes sets some on the pod.
//!
//! # Where quotas lie
//!
//! `/proc/self/cgroup` names our cgroup in each hierarchy, `/proc/self/mountinfo` tells where the
//! hierarchies are mounted and from which of their directories on. Version 2: `cpu.max` holds
//! `QUOTA PERIOD` or `max PERIOD`. Version 1: `cpu.cfs_quota_us` (−1: none) and `cpu.cfs_period_us`.
//! Whatever cannot be read sets no limit.

use std::fs;
use std::path::{Path, PathBuf};

/// The cores that the process may use: those of its mask, and the quotas that a file system tells of.
#[derive(Clone, Debug)]
pub(crate) struct Cores {
    /// How many the mask has.
    masked: fn() -> usize,
    /// Where the file system begins: `/`, but in a test.
    root: PathBuf,
}

impl Cores {
    /// Those of the machine.
    pub(crate) fn own() -> Self {
        Cores { masked: cores, root: PathBuf::from("/") }
    }

    /// The number of Ps for them.
    pub(crate) fn procs(&self) -> usize {
        limited((self.masked)(), quota(&self.root))
    }
}

fn limited(cores: usize, quota: Option<f64>) -> usize {
    match quota {
        // The cast saturates, and is never 0.
        Some(quota) => cores.min((quota.ceil() as usize).max(2)),
        None => cores,
    }
}

/// Cores in this thread's affinity mask.
fn cores() -> usize {
    // SAFETY: a mask of zeros is a value of the type; the call writes at most its size.
    let count = unsafe {
        let mut mask: libc::cpu_set_t = std::mem::zeroed();
        match libc::sched_getaffinity(0, size_of_val(&mask), &raw mut mask) {
            0 => libc::CPU_COUNT(&mask),
            _ => 0,
        }
    };
    match usize::try_from(count) {
        Ok(count) if count > 0 => count,
        // More cores than the type has bits.
        _ => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    }
}

/// The smallest quota in cores over all our cgroups, in a file system that begins at `root`.
fn quota(root: &Path) -> Option<f64> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let (own, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
    let chains = mounts.lines().filter_map(Mount::parse).filter_map(|mount| mount.chain(&own));
    chains
        .flat_map(|(version, chain)| chain.into_iter().map(move |folder| (version, folder)))
        .filter_map(|(version, folder)| limit(version, &root.join(folder.strip_prefix("/").ok()?)))
        .min_by(f64::total_cmp)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A line of mountinfo that mounts a cgroup hierarchy with the cpu controller.
#[derive(Debug)]
struct Mount<'a> {
    version: Version,
    /// Which directory of the hierarchy is mounted.
    from: &'a str,
    /// Where it is mounted.
    at: &'a str,
}

impl<'a> Mount<'a> {
    /// `36 35 98:0 FROM AT options - type source superoptions`
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        let (from, at) = (fields.next()?, fields.next()?);
        let mut fields = after.split(' ');
        let version = match (fields.next()?, fields.nth(1)) {
            ("cgroup2", _) => Version::Two,
            ("cgroup", Some(options)) if options.split(',').any(|o| o == "cpu") => Version::One,
            _ => return None,
        };
        Some(Mount { version, from, at })
    }

    /// Our own cgroup's directory and its ancestors, as far as this mount shows them. `own` is the
    /// text of `/proc/self/cgroup`.
    fn chain(&self, own: &str) -> Option<(Version, Vec<PathBuf>)> {
        let ours = own.lines().find_map(|line| self.path_in(line))?;
        let inside = Path::new(ours).strip_prefix(self.from).unwrap_or(Path::new(""));
        let folder = Path::new(self.at).join(inside);
        let chain = folder.ancestors().take_while(|f| f.starts_with(self.at));
        Some((self.version, chain.map(Path::to_path_buf).collect()))
    }

    /// The path in `ID:controllers:PATH`, if the line is about this hierarchy.
    fn path_in<'b>(&self, line: &'b str) -> Option<&'b str> {
        let mut fields = line.splitn(3, ':');
        let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let fits = match self.version {
            Version::One => controllers.split(',').any(|name| name == "cpu"),
            Version::Two => id == "0" && controllers.is_empty(),
        };
        fits.then_some(path)
    }
}

/// The quota that one directory sets, in cores.
fn limit(version: Version, folder: &Path) -> Option<f64> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let (quota, period) = match version {
        Version::Two => {
            let text = read("cpu.max")?;
            let (quota, period) = text.trim().split_once(' ')?;
            (quota.parse().ok()?, period.parse().ok()?)
        }
        Version::One => {
            let number = |name| read(name)?.trim().parse::<f64>().ok();
            (number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
        }
    };
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::Builder;

    /// A file system made of `(path, text)`.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
    const V1: &str = "33 26 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n";

    #[test]
    fn the_smallest_quota_of_all_ancestors_counts() {
        let root = tree(&[
            ("proc/self/cgroup", "0::/pod/app\n"),
            ("proc/self/mountinfo", V2),
            ("sys/fs/cgroup/pod/app/cpu.max", "400000 100000\n"),
            ("sys/fs/cgroup/pod/cpu.max", "250000 100000\n"),
            ("sys/fs/cgroup/cpu.max", "max 100000\n"),
            ("sys/fs/cpu.max", "1 100000\n"),
        ]);
        assert_eq!(quota(root.path()), Some(2.5));
    }

    #[test]
    fn version_one() {
        let root = tree(&[
            ("proc/self/cgroup", "5:memory:/x\n4:cpu,cpuacct:/x\n0::/\n"),
            ("proc/self/mountinfo", V1),
            ("sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ]);
        assert_eq!(quota(root.path()), Some(0.5));
    }

    #[test]
    fn a_mount_of_a_part_of_the_hierarchy() {
        let root = tree(&[
            ("proc/self/cgroup", "0::/docker/abc/app\n"),
            ("proc/self/mountinfo", "30 23 0:26 /docker/abc /cg rw - cgroup2 cgroup2 rw\n"),
            ("cg/app/cpu.max", "300000 100000\n"),
        ]);
        assert_eq!(quota(root.path()), Some(3.0));
    }

    /// Sets `quota` in a file, all at once as the kernel does.
    fn write_quota(file: &Path, quota: &str) {
        let fresh = file.with_extension("new");
        fs::write(&fresh, quota).unwrap();
        fs::rename(&fresh, file).unwrap();
    }

    /// A runtime on eight cores, whose quota is changed while it computes.
    fn a_running_runtime_follows_its_quota(kernel_threads: bool) {
        let root = tree(&[
            ("proc/self/cgroup", "0::/pod/app\n"),
            ("proc/self/mountinfo", V2),
            ("sys/fs/cgroup/pod/app/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/pod/cpu.max", "300000 100000\n"),
        ]);
        let mut builder = Builder::new().kernel_threads(kernel_threads);
        builder.settings.cores = Cores { masked: || 8, root: root.path().to_path_buf() };
        let rt = builder.build().unwrap();
        assert_eq!(rt.procs(), 3);
        let quotas = ["450000 100000\n", "150000 100000\n", "max 100000\n"];
        for (quota, procs) in quotas.into_iter().zip([5, 2, 8]) {
            write_quota(&root.path().join("sys/fs/cgroup/pod/cpu.max"), quota);
            // It is looked once a second, while anything runs.
            let begin = Instant::now();
            rt.run(|| {
                while rt.procs() != procs {
                    assert!(begin.elapsed() < Duration::from_secs(60), "{}: {quota}", rt.procs());
                    crate::yield_now();
                }
            });
        }
    }

    #[test]
    fn a_running_runtime_follows_its_quota_on_shared_threads() {
        a_running_runtime_follows_its_quota(false);
    }

    #[test]
    fn a_running_runtime_follows_its_quota_on_threads_of_goroutines() {
        a_running_runtime_follows_its_quota(true);
    }

    /// Set in a child: the cgroup that it is to enter.
    const INSIDE: &str = "PROCS_TEST_CGROUP";

    /// Our own cgroup in each hierarchy with the cpu controller, as it is mounted.
    fn own_folders() -> Vec<(Version, PathBuf)> {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let (own, mounts) = (read("/proc/self/cgroup"), read("/proc/self/mountinfo"));
        let chains = mounts.lines().filter_map(Mount::parse).filter_map(|mount| mount.chain(&own));
        chains.filter_map(|(version, chain)| Some((version, chain.into_iter().next()?))).collect()
    }

    /// Sets a quota in thousandths of a core.
    fn set_quota(version: Version, folder: &Path, thousandths: u32) -> std::io::Result<()> {
        let quota = thousandths * 100;
        match version {
            Version::One => {
                fs::write(folder.join("cpu.cfs_period_us"), "100000")?;
                fs::write(folder.join("cpu.cfs_quota_us"), quota.to_string())
            }
            Version::Two => fs::write(folder.join("cpu.max"), format!("{quota} 100000")),
        }
    }

    fn enter_and_look(version: Version, folder: &Path) {
        let outside = quota(Path::new("/"));
        let least = |own: f64| Some(outside.map_or(own, |outside| outside.min(own)));
        fs::write(folder.join("cgroup.procs"), std::process::id().to_string()).unwrap();
        assert_eq!(quota(Path::new("/")), least(1.5));
        set_quota(version, folder, 500).unwrap();
        assert_eq!(quota(Path::new("/")), least(0.5));
        assert_eq!(Cores::own().procs(), limited(cores(), least(0.5)));
    }

    /// A cgroup of the kernel's, made and entered where this process may.
    #[test]
    fn real_cgroups_are_followed() {
        let inside = std::env::var(INSIDE).ok();
        for (version, own) in own_folders() {
            if let Some(folder) = &inside {
                if Path::new(folder).starts_with(&own) {
                    enter_and_look(version, Path::new(folder));
                }
                continue;
            }
            let folder = own.join(format!("procs-test-{}", std::process::id()));
            if version == Version::Two {
                // Fails where it is on already, or not ours to give.
                let _ = fs::write(own.join("cgroup.subtree_control"), "+cpu");
            }
            let made = fs::create_dir(&folder).and_then(|()| set_quota(version, &folder, 1500));
            let child = made.map(|()| {
                let this = std::env::current_exe().unwrap();
                let test = "config::procs::tests::real_cgroups_are_followed";
                let args = [test, "--exact", "--nocapture"];
                std::process::Command::new(this).args(args).env(INSIDE, &folder).output().unwrap()
            });
            let _ = fs::remove_dir(&folder);
            match child {
                Ok(child) => assert!(child.status.success(), "{version:?}: {child:?}"),
                Err(error) => {
                    eprintln!("no quota can be set in {}: {error}; skipped", own.display())
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_read_sets_no_limit() {
        assert_eq!(quota(tree(&[]).path()), None);
        let root = tree(&[("proc/self/cgroup", "0::/\n"), ("proc/self/mountinfo", V2)]);
        assert_eq!(quota(root.path()), None);
    }

    #[test]
    fn quotas_round_up_and_leave_two() {
        assert_eq!(limited(8, None), 8);
        assert_eq!(limited(8, Some(2.1)), 3);
        assert_eq!(limited(8, Some(0.1)), 2);
        assert_eq!(limited(1, Some(0.1)), 1);
        assert_eq!(limited(2, Some(64.0)), 2);
        assert!(Cores::own().procs() >= 1);
    }
}
