//! What the process that uses a store says about it, in the order in which it happens.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// A record of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    pub stream: String,
    pub number: u64,
    pub length: usize,
}

/// A record that was read, with the id that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub number: u64,
    pub id: u64,
}

/// One thing said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// These records are about to be appended in one call.
    Append { call: u64, records: Vec<Put> },
    /// That call returned `Ok`.
    Appended { call: u64 },
    /// These records are about to be deleted, and attempts counted, in one call.
    Settle {
        call: u64,
        delete: Vec<Seen>,
        count: Vec<Seen>,
    },
    /// That call returned `Ok`.
    Settled { call: u64 },
    /// The store is about to be cleared.
    Clear { call: u64 },
    /// It was.
    Cleared { call: u64 },
    /// All files were synced, by the workload and not by the store.
    Synced { call: u64 },
}

/// Where marks are written, each by one call to the system.
#[derive(Debug)]
pub struct Marks(File);

impl Marks {
    pub fn open(path: &Path) -> Self {
        let file = OpenOptions::new().append(true).create(true).open(path);
        Self(file.unwrap())
    }

    pub fn say(&self, mark: &Mark) {
        let line = mark.to_line() + "\n";
        assert_eq!((&self.0).write(line.as_bytes()).unwrap(), line.len());
    }
}

impl Mark {
    fn to_line(&self) -> String {
        match self {
            Self::Append { call, records } => {
                let records = records
                    .iter()
                    .map(|put| format!(" {}:{}:{}", put.stream, put.number, put.length));
                format!("append {call}{}", records.collect::<String>())
            }
            Self::Appended { call } => format!("appended {call}"),
            Self::Settle {
                call,
                delete,
                count,
            } => {
                let deleted = delete.iter().map(|seen| ('-', seen));
                let all = deleted.chain(count.iter().map(|seen| ('+', seen)));
                let all = all.map(|(sign, seen)| format!(" {sign}{}@{}", seen.number, seen.id));
                format!("settle {call}{}", all.collect::<String>())
            }
            Self::Settled { call } => format!("settled {call}"),
            Self::Clear { call } => format!("clear {call}"),
            Self::Cleared { call } => format!("cleared {call}"),
            Self::Synced { call } => format!("synced {call}"),
        }
    }

    pub fn of_line(line: &str) -> Self {
        let mut words = line.split(' ');
        let (kind, first) = (words.next().unwrap(), words.next().unwrap());
        match kind {
            "append" => Self::Append {
                call: first.parse().unwrap(),
                records: words.map(Put::of_word).collect(),
            },
            "appended" => Self::Appended {
                call: first.parse().unwrap(),
            },
            "settle" => {
                let (deleted, counted): (Vec<&str>, Vec<&str>) =
                    words.partition(|word| word.starts_with('-'));
                let seen = |words: Vec<&str>| words.into_iter().map(Seen::of_word).collect();
                Self::Settle {
                    call: first.parse().unwrap(),
                    delete: seen(deleted),
                    count: seen(counted),
                }
            }
            "settled" => Self::Settled {
                call: first.parse().unwrap(),
            },
            "clear" => Self::Clear {
                call: first.parse().unwrap(),
            },
            "cleared" => Self::Cleared {
                call: first.parse().unwrap(),
            },
            "synced" => Self::Synced {
                call: first.parse().unwrap(),
            },
            other => panic!("nobody says {other}"),
        }
    }
}

impl Put {
    fn of_word(word: &str) -> Self {
        let mut parts = word.split(':');
        Self {
            stream: parts.next().unwrap().to_owned(),
            number: parts.next().unwrap().parse().unwrap(),
            length: parts.next().unwrap().parse().unwrap(),
        }
    }
}

impl Seen {
    fn of_word(word: &str) -> Self {
        let (number, id) = word[1..].split_once('@').unwrap();
        Self {
            number: number.parse().unwrap(),
            id: id.parse().unwrap(),
        }
    }
}
