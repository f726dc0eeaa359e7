//! Disks that fill up and disks that fail, for a server process.
//!
//! Invariant: nothing outlives the server: a disk is mounted in a mount namespace of the server's own, and a system call
//! fails for that process alone. Where the machine has no such thing the answer is why.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::Launch;

/// Runs a program to its end; what it printed to standard error if it failed or is not there.
fn run(program: &str, words: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Mounts an image and becomes another program, in a mount namespace that ends with it.
const MOUNTED: [&str; 7] = [
    "unshare",
    "--mount",
    "--propagation",
    "private",
    "sh",
    "-c",
    "mount -t ext4 -o loop \"$0\" \"$1\" && shift && exec \"$@\"",
];

/// A small ext4 file system in a file.
#[derive(Debug)]
pub struct SmallDisk {
    image: PathBuf,
    mounted_at: PathBuf,
}

impl SmallDisk {
    /// Makes one of so many MiB, in `scratch`.
    ///
    /// # Errors
    ///
    /// Why this machine cannot mount one.
    pub fn new(scratch: &Path, mib: u64) -> Result<SmallDisk, String> {
        let disk = SmallDisk { image: scratch.join("image"), mounted_at: scratch.join("disk") };
        let file = fs::File::create(&disk.image).and_then(|file| file.set_len(mib << 20));
        file.and_then(|()| fs::create_dir(&disk.mounted_at)).map_err(|error| error.to_string())?;
        // Nothing is kept back for root, as whom this may run.
        run("mkfs.ext4", &["-q", "-F", "-m", "0", &disk.image.display().to_string()])?;
        disk.run(&["true"])?;
        Ok(disk)
    }

    fn words(&self) -> Vec<String> {
        let places = [&self.image, &self.mounted_at].map(|path| path.display().to_string());
        MOUNTED.map(str::to_owned).into_iter().chain(places).collect()
    }

    /// The directory for the server's data: there while the server runs, and for it alone.
    pub fn data(&self) -> PathBuf {
        self.mounted_at.join("data")
    }

    /// The server, started with the disk mounted.
    pub fn mounted(&self, launch: Launch) -> Launch {
        launch.within(self.words())
    }

    /// A file on the disk, as others see it while process `id` runs on it.
    pub fn seen_by(&self, id: u32, name: &str) -> PathBuf {
        let inside = self.mounted_at.strip_prefix("/").unwrap_or(&self.mounted_at);
        Path::new("/proc").join(id.to_string()).join("root").join(inside).join(name)
    }

    /// Runs a program with the disk mounted, while no server is.
    ///
    /// # Errors
    ///
    /// What it says.
    pub fn run(&self, words: &[&str]) -> Result<(), String> {
        let all = self.words();
        let all: Vec<&str> = all.iter().map(String::as_str).chain(words.iter().copied()).collect();
        run(all[0], &all[1..])
    }
}

/// Makes system calls of the server fail: `rule` is one of strace's injections, as `fdatasync:error=EIO:when=5+`. The
/// calls of each thread are counted for itself.
///
/// # Errors
///
/// Why this machine has no strace, or does not let it look.
pub fn failing(launch: Launch, rules: &[&str]) -> Result<Launch, String> {
    run("strace", &["-D", "-o", "/dev/null", "true"])?;
    // As a grandchild, so that the child is the server itself; it ends with it.
    let mut words: Vec<String> = ["strace", "-D", "-f", "-qq", "-o", "/dev/null"].map(str::to_owned).into();
    let calls: Vec<&str> = rules.iter().filter_map(|rule| rule.split(':').next()).collect();
    words.extend(["-e".to_owned(), format!("trace={}", calls.join(","))]);
    words.extend(rules.iter().flat_map(|rule| ["-e".to_owned(), format!("inject={rule}")]));
    Ok(launch.within(words))
}
