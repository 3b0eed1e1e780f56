//! The only thread that calls sled, and what isolates others from its failures.
//!
//! sled may block indefinitely, and panics where it should return an error. So it runs on its own
//! thread, which takes jobs and sends answers. An owner that waits too long, or gets an error,
//! abandons the thread, which ends by itself if it ever continues.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use super::SledIndexSettings;
use super::contained::{Outcome, Progress, contained};
use super::database::Database;
use crate::index::Broken;

type Job = Box<dyn FnOnce(&mut Option<Database>) + Send>;

/// The thread of a database. When dropped, the thread finishes its jobs and ends.
#[derive(Debug)]
pub(super) struct Worker {
    jobs: Sender<Job>,
    progress: Progress,
    limit: Duration,
    #[cfg(test)]
    trouble: Option<Trouble>,
}

/// The pending answer of a job; see [`Worker::wait`].
#[derive(Debug)]
pub(super) struct Awaited<T>(Receiver<Outcome<T>>);

impl Worker {
    /// Starts a thread without a database: its first job opens one.
    pub(super) fn start(settings: &SledIndexSettings) -> Result<Self, Broken> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let serve = move || {
            let mut database = None;
            while let Ok(job) = queue.recv() {
                job(&mut database);
            }
            close(&mut database);
        };
        thread::Builder::new()
            .name("record-index".to_owned())
            .spawn(serve)
            .map_err(|error| Broken(format!("no thread for the index: {error}")))?;
        Ok(Self {
            jobs,
            progress: Progress::default(),
            limit: settings.limit,
            #[cfg(test)]
            trouble: settings.trouble,
        })
    }

    /// Queues a job, without waiting for it.
    pub(super) fn post<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Option<Database>, &Progress) -> Outcome<T> + Send + 'static,
    ) -> Awaited<T> {
        let (sender, answer) = mpsc::channel();
        let progress = self.progress.clone();
        #[cfg(test)]
        let trouble = Trouble::at_next_job(&mut self.trouble);
        // If the thread is gone, the sender is dropped, which is an answer too.
        let _ = self.jobs.send(Box::new(move |database| {
            let outcome = contained(|| {
                #[cfg(test)]
                trouble.map_or(Ok(()), TroubleKind::meet)?;
                work(database, &progress)
            });
            if outcome.is_err() {
                // sled can no longer be trusted. The owner deletes its files as soon as it hears
                // of that: some systems cannot while they are open, others keep their space.
                close(database);
            }
            let _ = sender.send(outcome);
        }));
        Awaited(answer)
    }

    /// Waits for the answer while there are signs of life.
    pub(super) fn wait<T>(&self, awaited: &Awaited<T>) -> Result<T, Broken> {
        loop {
            let beats = self.progress.beats();
            match awaited.0.recv_timeout(self.limit) {
                Ok(outcome) => return outcome.map_err(Broken),
                Err(RecvTimeoutError::Timeout) if self.progress.beats() != beats => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Broken(format!("no answer within {:?}", self.limit)));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Broken("the thread of the index is gone".to_owned()));
                }
            }
        }
    }

    pub(super) fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Option<Database>, &Progress) -> Outcome<T> + Send + 'static,
    ) -> Result<T, Broken> {
        let awaited = self.post(work);
        self.wait(&awaited)
    }
}

fn close(database: &mut Option<Database>) {
    if let Some(database) = database.take() {
        database.close();
    }
}

/// For tests: what goes wrong, and at which job of each thread.
#[cfg(test)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trouble {
    /// Jobs that are done before.
    pub(crate) after: u64,
    pub(crate) kind: TroubleKind,
}

#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TroubleKind {
    Panic,
    Fail,
    Hang,
}

#[cfg(test)]
impl Trouble {
    fn at_next_job(this: &mut Option<Self>) -> Option<TroubleKind> {
        let trouble = this.as_mut()?;
        let kind = (trouble.after == 0).then_some(trouble.kind);
        trouble.after = trouble.after.wrapping_sub(1);
        kind
    }
}

#[cfg(test)]
impl TroubleKind {
    fn meet(self) -> Outcome<()> {
        match self {
            Self::Fail => Err("it was told to fail".to_owned()),
            Self::Panic => panic!("it was told to panic"),
            Self::Hang => loop {
                thread::park();
            },
        }
    }
}
