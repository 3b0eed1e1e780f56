//! Ways for a crash to choose among pending changes.

use fastrand::Rng;

use super::{Fate, Inode, Pending};

/// How the fates of all pending changes are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Nothing reached the disk.
    None,
    /// Everything reached the disk, as after a process end.
    All,
    /// The first changes reached the disk, and part of the next.
    Prefix,
    /// The last changes reached the disk.
    Suffix,
    /// A few changes in a row are missing.
    Gap,
    /// Only a few changes in a row reached the disk.
    Island,
    /// Each change is decided separately, and few are kept.
    Few,
    /// Each change is decided separately, and half are kept.
    Half,
    /// Each change is decided separately, and most are kept.
    Most,
    /// Each sector is decided separately.
    Sectors,
    /// Each page of eight sectors is decided separately.
    Pages,
    /// All changes of some files, and none of others.
    Files,
    /// The writes to some files, but no names or lengths.
    Bare,
    /// Names and lengths, but no data.
    Names,
    /// Data, but no names or lengths.
    Data,
}

const PAGE_SECTORS: u64 = 8;

impl Plan {
    /// All plans.
    pub const EACH: [Self; 15] = [
        Self::None,
        Self::All,
        Self::Prefix,
        Self::Suffix,
        Self::Gap,
        Self::Island,
        Self::Few,
        Self::Half,
        Self::Most,
        Self::Sectors,
        Self::Pages,
        Self::Files,
        Self::Bare,
        Self::Names,
        Self::Data,
    ];

    /// Chooses a fate for each pending change.
    #[must_use]
    pub fn fates(self, pending: &[Pending], rng: &mut Rng) -> Vec<Fate> {
        let count = pending.len();
        let start = rng.usize(..=count);
        let run = start..count.min(start + rng.usize(1..=4));
        let split = pending.get(start).map(|pending| torn_once(pending, rng));
        let salt = rng.u64(..);
        let each = pending.iter().enumerate();
        each.map(|(index, pending)| match self {
            Self::None => Fate::Dropped,
            Self::All => Fate::Kept,
            Self::Prefix if index == start => split.clone().unwrap_or(Fate::Dropped),
            Self::Prefix => kept_if(index < start),
            Self::Suffix => kept_if(index >= start),
            Self::Gap => kept_if(!run.contains(&index)),
            Self::Island => kept_if(run.contains(&index)),
            Self::Few => chance(pending, rng, 0.1),
            Self::Half => chance(pending, rng, 0.5),
            Self::Most => chance(pending, rng, 0.9),
            Self::Sectors => torn(pending, rng, 1),
            Self::Pages => torn(pending, rng, PAGE_SECTORS),
            Self::Files => match pending.file() {
                Some(file) => kept_if(coin(file, salt)),
                None => kept_if(rng.u8(..) > 16),
            },
            Self::Bare => {
                let file = pending.file().filter(|_| pending.sectors().is_some());
                kept_if(file.is_some_and(|file| coin(file, salt)))
            }
            Self::Names if pending.sectors().is_none() => Fate::Kept,
            Self::Names if salt.is_multiple_of(2) => Fate::OnlyLength,
            Self::Names => Fate::Dropped,
            Self::Data => kept_if(pending.sectors().is_some()),
        })
        .collect()
    }
}

const fn kept_if(condition: bool) -> Fate {
    if condition { Fate::Kept } else { Fate::Dropped }
}

fn chance(pending: &Pending, rng: &mut Rng, of_keeping: f64) -> Fate {
    if rng.f64() < of_keeping {
        Fate::Kept
    } else if rng.u8(..) < 32 {
        Fate::OnlyLength
    } else if rng.u8(..) < 64 {
        torn_once(pending, rng)
    } else {
        Fate::Dropped
    }
}

/// Keeps the first sectors of a write, or the last.
fn torn_once(pending: &Pending, rng: &mut Rng) -> Fate {
    let Some(sectors) = pending.sectors() else {
        return kept_if(rng.bool());
    };
    let (at, front) = (rng.usize(..=sectors), rng.bool());
    Fate::Torn((0..sectors).map(|index| (index < at) == front).collect())
}

fn torn(pending: &Pending, rng: &mut Rng, unit: u64) -> Fate {
    let Some((sectors, first)) = pending.sectors().zip(pending.first_sector()) else {
        return kept_if(rng.u8(..) > 64);
    };
    let mut kept = rng.bool();
    let each = (first..).take(sectors).map(|sector| {
        if sector % unit == 0 {
            kept = rng.bool();
        }
        kept
    });
    Fate::Torn(each.collect())
}

fn coin(file: Inode, salt: u64) -> bool {
    Rng::with_seed(file.0 ^ salt).bool()
}
