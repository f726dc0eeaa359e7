//! `kvserver repair`: a damaged store made one that opens.
//!
//! Invariant: everything that is no longer in the store is named.

use std::path::Path;

use kvcore::{Options, Repair};

use super::{Result, path, print};

pub(super) fn repair(dir: &Path) -> Result<()> {
    let repaired = Options::new().repair(dir)?;
    print(&in_words(dir, &repaired))
}

fn in_words(dir: &Path, repaired: &Repair) -> String {
    let mut report = super::check::in_words(dir, &repaired.found);
    let mut line = |text: String| report.extend([&text, "\n"]);
    let Some(folder) = &repaired.set_aside else {
        line("nothing was done".to_owned());
        return report;
    };
    line(format!("\ncopied to {}: {}", path(folder), repaired.files.join(", ")));
    for dropped in &repaired.dropped {
        let lsns = dropped.lsns.map(|(first, last)| format!(", Lsn {first} to {last}")).unwrap_or_default();
        line(format!("dropped: {} bytes of {}{lsns}: {}", dropped.bytes, dropped.file, dropped.why));
    }
    match &repaired.kept {
        None => line("nothing that the store holds was damaged".to_owned()),
        Some(kept) => {
            let snapshot = match &kept.snapshot {
                Some(name) => format!("{} keys of {name}", kept.snapshot_entries),
                None => "no snapshot".to_owned(),
            };
            line(format!("kept: {snapshot}, and {} transactions of the log", kept.replayed));
            let what_it_is = match (kept.is_partial, kept.is_mixed) {
                (false, false) => "exactly as it was then",
                (true, false) => "keys are missing, what is there is as it was then",
                (false, true) => "some keys as they were at later moments, of which the log is lost",
                (true, true) => {
                    "keys are missing, and some are as they were at later moments, of which the log is lost"
                }
            };
            line(format!("the store is that of Lsn {}: {what_it_is}", kept.up_to));
            if kept.newest > kept.up_to {
                line(format!("lost: Lsn {} to {}, or what of them is not kept", kept.up_to.get() + 1, kept.newest));
            }
        }
    }
    line(format!("{} opens now; if all is well, the folder can be removed", path(dir)));
    report
}
