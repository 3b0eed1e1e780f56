//! Settlements that the tree has not taken in yet.
//!
//! A settlement has to survive the end of the process, and no more. So it is noted here
//! with one write that nobody syncs, and the tree takes in what became of many of them at
//! once. What is lost of this file is only delivered again.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;

use super::barrier::write_through;
use super::codec::{Reader, Writer};
use super::home::private_file;
use super::mark::write_at;

const FILE: &str = "settled";
const MAGIC: [u8; 8] = *b"settled1";

/// The file never grows, so that a full disk does not matter to it.
const FILE_BYTES: usize = 64 * 1024;
const HEADER_BYTES: usize = 28;
const NOTE_HEADER_BYTES: usize = 4 + 8 + 8 + 4;

/// What one step does to the keys that are no payloads: their values, or that they go.
#[derive(Debug, Default)]
pub(super) struct Note {
    body: Writer,
}

impl Note {
    pub(super) fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        let value = value.unwrap_or_default();
        self.body
            .varint(key.len() as u64)
            .bytes(key)
            .varint(value.len() as u64)
            .bytes(value);
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.body.len() == 0
    }
}

/// A note as it is read back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Noted {
    pub(super) number: u64,
    /// How many records the generation had taken in before.
    pub(super) appended: u64,
    /// An empty value says that the key goes.
    pub(super) changes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The file with the notes of one generation.
#[derive(Debug)]
pub(super) struct Notes {
    file: File,
    salt: u64,
    /// Drawn anew whenever the file is begun again, so that older notes in it are void.
    nonce: u64,
    /// Where the next note goes; at the end of the file where none may be written.
    at: usize,
    /// The number of the last note, in this file or any before.
    last: u64,
}

impl Notes {
    /// Makes the file where it is not there yet.
    pub(super) fn create(directory: &Path) -> io::Result<()> {
        let file = open(directory)?;
        write_at(&file, &vec![0; FILE_BYTES], 0)
    }

    /// Everything that a file still tells, which is nothing where it cannot be read.
    pub(super) fn read(directory: &Path, salt: u64) -> Vec<Noted> {
        let bytes = std::fs::read(directory.join(FILE)).unwrap_or_default();
        let mut notes = Vec::new();
        let mut rest = Reader::new(&bytes);
        let header = rest.bytes(HEADER_BYTES);
        let Some(nonce) = header.and_then(|header| nonce_of(header, salt)) else {
            return notes;
        };
        while let Some(note) = Noted::read(&mut rest, salt, nonce) {
            notes.push(note);
        }
        notes
    }

    /// Begins the file anew, with nothing in it; `last` is the number of the last note.
    pub(super) fn begin(directory: &Path, salt: u64, last: u64) -> io::Result<Self> {
        let file = open(directory)?;
        // The directory passes it on to what is made in it.
        write_through(&file, false);
        write_at(&file, &vec![0; FILE_BYTES], 0)?;
        let mut notes = Self {
            file,
            salt,
            nonce: 0,
            at: FILE_BYTES,
            last,
        };
        notes.begin_again()?;
        Ok(notes)
    }

    /// Makes all notes void, once the tree has taken them in.
    pub(super) fn begin_again(&mut self) -> io::Result<()> {
        self.at = FILE_BYTES;
        self.nonce = RandomState::new().hash_one(self.nonce);
        let mut header = Writer::default();
        header.bytes(&MAGIC).u64(self.salt).u64(self.nonce);
        let checksum = crc32c::crc32c(header.as_slice());
        header.u32(checksum);
        write_at(&self.file, header.as_slice(), 0)?;
        self.at = HEADER_BYTES;
        Ok(())
    }

    /// The number of the last note.
    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    /// How many bytes of notes can be written.
    pub(super) const fn room(&self) -> usize {
        FILE_BYTES - self.at
    }

    /// Writes a note down; where that fails, no more are written until the file is begun again.
    pub(super) fn write(&mut self, appended: u64, note: &Note) -> io::Result<()> {
        self.last += 1;
        let body = note.body.as_slice();
        let length = NOTE_HEADER_BYTES + body.len();
        if length > self.room() {
            self.at = FILE_BYTES;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut bytes = Writer::default();
        bytes
            .u32(u32::try_from(body.len()).unwrap_or(u32::MAX))
            .u64(self.last)
            .u64(appended);
        let checksum = checksum(self.salt, self.nonce, bytes.as_slice(), body);
        bytes.u32(checksum).bytes(body);
        let at = std::mem::replace(&mut self.at, FILE_BYTES);
        write_at(&self.file, bytes.as_slice(), at as u64)?;
        self.at = at + length;
        Ok(())
    }
}

impl Noted {
    fn read(from: &mut Reader<'_>, salt: u64, nonce: u64) -> Option<Self> {
        let described = from.bytes(NOTE_HEADER_BYTES - 4)?;
        let mut fields = Reader::new(described);
        let length = usize::try_from(fields.u32()?).ok()?;
        let (number, appended) = (fields.u64()?, fields.u64()?);
        let written = from.u32()?;
        let body = from.bytes(length)?;
        if checksum(salt, nonce, described, body) != written {
            return None;
        }
        let mut body = Reader::new(body);
        let mut changes = Vec::new();
        while !body.is_empty() {
            let length = usize::try_from(body.varint()?).ok()?;
            let key = body.bytes(length)?.to_vec();
            let length = usize::try_from(body.varint()?).ok()?;
            changes.push((key, body.bytes(length)?.to_vec()));
        }
        Some(Self {
            number,
            appended,
            changes,
        })
    }
}

/// The file of a generation that is not open.
pub(super) fn file(directory: &Path) -> std::path::PathBuf {
    directory.join(FILE)
}

fn open(directory: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    private_file(&directory.join(FILE), options)
}

fn nonce_of(header: &[u8], salt: u64) -> Option<u64> {
    let mut from = Reader::new(header);
    let magic = from.bytes(MAGIC.len())?;
    let (of, nonce) = (from.u64()?, from.u64()?);
    let whole = from.u32()? == crc32c::crc32c(header.get(..HEADER_BYTES - 4)?);
    (magic == MAGIC && of == salt && whole).then_some(nonce)
}

fn checksum(salt: u64, nonce: u64, described: &[u8], body: &[u8]) -> u32 {
    let sum = crc32c::crc32c(&salt.to_le_bytes());
    let sum = crc32c::crc32c_append(sum, &nonce.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(sum, described), body)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::{FILE_BYTES, Note, Notes, file};

    const SALT: u64 = 77;

    fn note(text: &[u8]) -> Note {
        let mut note = Note::default();
        note.put(b"key", Some(text));
        note.put(b"gone", None);
        note
    }

    fn numbers(directory: &std::path::Path, salt: u64) -> Vec<u64> {
        let notes = Notes::read(directory, salt);
        notes.iter().map(|note| note.number).collect()
    }

    #[test]
    fn notes_are_read_back_as_they_were_written() {
        let place = tempfile::tempdir().unwrap();
        let mut notes = Notes::begin(place.path(), SALT, 4).unwrap();
        notes.write(10, &note(b"one")).unwrap();
        notes.write(20, &note(b"two")).unwrap();
        let read = Notes::read(place.path(), SALT);
        assert_eq!(numbers(place.path(), SALT), [5, 6]);
        assert_eq!((read[0].appended, read[1].appended), (10, 20));
        let expected = [
            (b"key".to_vec(), b"two".to_vec()),
            (b"gone".to_vec(), Vec::new()),
        ];
        assert_eq!(read[1].changes, expected);
        assert_eq!(numbers(place.path(), SALT + 1), [], "of another generation");
    }

    #[test]
    fn a_file_that_is_begun_again_tells_nothing_of_what_was_in_it() {
        let place = tempfile::tempdir().unwrap();
        let mut notes = Notes::begin(place.path(), SALT, 0).unwrap();
        for _ in 0..5 {
            notes.write(1, &note(b"old")).unwrap();
        }
        notes.begin_again().unwrap();
        assert_eq!(numbers(place.path(), SALT), []);
        // As long as an old one, so that the next old one follows it.
        notes.write(1, &note(b"new")).unwrap();
        assert_eq!(numbers(place.path(), SALT), [6]);
    }

    #[test]
    fn what_is_whole_before_some_damage_is_read() {
        let place = tempfile::tempdir().unwrap();
        let mut notes = Notes::begin(place.path(), SALT, 0).unwrap();
        for _ in 0..5 {
            notes.write(1, &note(b"note")).unwrap();
        }
        let path = file(place.path());
        let whole = fs::read(&path).unwrap();
        let used = FILE_BYTES - notes.room();
        for at in 0..used {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            fs::write(&path, &bytes).unwrap();
            let read = numbers(place.path(), SALT);
            assert!(read.len() < 5, "a damaged note was taken for whole: {at}");
            assert!(read.iter().copied().eq(1..=read.len() as u64));
            fs::write(&path, &whole[..at]).unwrap();
            let read = numbers(place.path(), SALT);
            assert!(read.iter().copied().eq(1..=read.len() as u64));
        }
    }

    #[test]
    fn nothing_follows_a_note_that_could_not_be_written() {
        let place = tempfile::tempdir().unwrap();
        let mut notes = Notes::begin(place.path(), SALT, 0).unwrap();
        notes.write(1, &note(b"fits")).unwrap();
        notes.write(1, &note(&[1; FILE_BYTES])).unwrap_err();
        notes.write(1, &note(b"fits")).unwrap_err();
        assert_eq!(numbers(place.path(), SALT), [1]);
        notes.begin_again().unwrap();
        notes.write(1, &note(b"fits")).unwrap();
        assert_eq!(numbers(place.path(), SALT), [4]);
    }

    #[test]
    fn nothing_is_written_behind_a_note_that_the_disk_may_have_torn() {
        let place = tempfile::tempdir().unwrap();
        let mut notes = Notes::begin(place.path(), SALT, 0).unwrap();
        notes.write(1, &note(b"fits")).unwrap();
        let file = File::open(file(place.path())).unwrap();
        let writable = std::mem::replace(&mut notes.file, file);
        notes.write(1, &note(b"refused")).unwrap_err();
        notes.file = writable;
        notes.write(1, &note(b"too late")).unwrap_err();
        assert_eq!(numbers(place.path(), SALT), [1]);
        notes.begin_again().unwrap();
        notes.write(1, &note(b"fits")).unwrap();
        assert_eq!(numbers(place.path(), SALT), [4]);
    }
}
