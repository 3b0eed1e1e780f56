//! The file that says which generation counts.

use std::fs;
use std::io;

use super::fault::{Fault, Outcome, unavailable};
use super::home::{GenerationId, Home};
use super::segment::SegmentSize;

const FILE: &str = "manifest";
const TITLE: &str = "record-cache";
const VERSION: &str = "1";

/// The generation that holds the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) generation: GenerationId,
    pub(super) segment: SegmentSize,
    /// Where streams begin in it as long as it is empty.
    pub(super) floor: u64,
}

/// What was found where the manifest should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Manifest(Manifest),
    /// Whole, and of a version that is not known here.
    OtherVersion(String),
    Damaged,
}

impl Manifest {
    pub(super) fn read(home: &Home) -> io::Result<Found> {
        match fs::read(home.path().join(FILE)) {
            Ok(content) => Ok(parse(&content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
            Err(error) => Err(error),
        }
    }

    /// From here on the generation counts, also after the loss of power.
    ///
    /// After [`Fault::Refused`] it may or may not.
    pub(super) fn write(self, home: &Home) -> Outcome<()> {
        let doing = "cannot write to the directory";
        home.replace_file(FILE, self.to_text().as_bytes())
            .map_err(|error| Fault::Untouched(unavailable(doing, home.path(), error)))?;
        home.sync()
            .map_err(|error| Fault::io(doing, home.path(), error))
    }

    fn to_text(self) -> String {
        let GenerationId { number, salt } = self.generation;
        let (segment, floor) = (self.segment.bytes(), self.floor);
        let facts = format!(
            "{TITLE} {VERSION}\n\
             generation {number}\nsalt {salt:016x}\nsegment {segment}\nfloor {floor}\n"
        );
        let checksum = crc32c::crc32c(facts.as_bytes());
        format!("{facts}crc32c {checksum:08x}\n")
    }
}

/// All versions agree on the first line and on the last.
fn parse(content: &[u8]) -> Found {
    let Some((facts, version)) = std::str::from_utf8(content).ok().and_then(checked) else {
        return Found::Damaged;
    };
    if version != VERSION {
        return Found::OtherVersion(format!("version {version}"));
    }
    parse_facts(facts).map_or(Found::Damaged, Found::Manifest)
}

fn checked(text: &str) -> Option<(&str, &str)> {
    let (facts, checksum) = text.strip_suffix('\n')?.rsplit_once("\ncrc32c ")?;
    let expected = u32::from_str_radix(checksum, 16).ok()?;
    let (title, rest) = facts.split_once(' ')?;
    let (version, facts_of_version) = rest.split_once('\n')?;
    let whole = crc32c::crc32c(text.get(..=facts.len())?.as_bytes()) == expected;
    (whole && title == TITLE).then_some((facts_of_version, version))
}

fn parse_facts(facts: &str) -> Option<Manifest> {
    let mut values = facts.lines().filter_map(|line| line.split_once(' '));
    let mut value = |name: &str| {
        values
            .next()
            .filter(|fact| fact.0 == name)
            .map(|fact| fact.1)
    };
    let number = value("generation")?.parse().ok()?;
    let salt = u64::from_str_radix(value("salt")?, 16).ok()?;
    let segment = SegmentSize::of_bytes(value("segment")?.parse().ok()?)?;
    let floor = value("floor")?.parse().ok()?;
    Some(Manifest {
        generation: GenerationId { number, salt },
        segment,
        floor,
    })
}

#[cfg(test)]
mod tests {
    use super::{Found, GenerationId, Manifest, SegmentSize, parse};

    const MANIFEST: Manifest = Manifest {
        generation: GenerationId {
            number: 7,
            salt: 0xfeed,
        },
        segment: SegmentSize::Small,
        floor: 4_000_000_000_000,
    };

    #[test]
    fn a_manifest_reads_back() {
        assert_eq!(
            parse(MANIFEST.to_text().as_bytes()),
            Found::Manifest(MANIFEST)
        );
    }

    #[test]
    fn a_whole_manifest_of_another_version_is_told_from_a_damaged_one() {
        let facts = "record-cache 2\nanything else\n";
        let other = format!("{facts}crc32c {:08x}\n", crc32c::crc32c(facts.as_bytes()));
        assert_eq!(
            parse(other.as_bytes()),
            Found::OtherVersion("version 2".to_owned())
        );
        let text = MANIFEST.to_text();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert_eq!(parse(&bytes), Found::Damaged, "a flipped bit at {at}");
            assert_eq!(parse(&text.as_bytes()[..at]), Found::Damaged, "cut at {at}");
        }
    }
}
