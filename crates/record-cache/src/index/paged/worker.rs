//! The only thread that calls sled, isolating all others from its failures.
//!
//! sled may block indefinitely, and panics where it should return an error. So it runs on its own
//! thread, which takes jobs and sends answers. An owner that waits too long or gets an error
//! abandons the thread, which ends by itself if it ever resumes.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use super::IndexSettings;
use super::database::Database;
#[cfg(test)]
use super::{Trouble, TroubleKind};
use crate::index::Broken;

type Job = Box<dyn FnOnce(&mut Option<Database>) + Send>;

/// The thread of a database. When this is dropped, the thread finishes its jobs and ends.
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
    /// Starts a thread without a database; its first job opens one.
    pub(super) fn start(settings: &IndexSettings) -> Result<Self, Broken> {
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

    /// Queues a job without waiting for it.
    pub(super) fn post<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Option<Database>, &Progress) -> Outcome<T> + Send + 'static,
    ) -> Awaited<T> {
        let (sender, answer) = mpsc::channel();
        let progress = self.progress.clone();
        #[cfg(test)]
        let trouble = Trouble::at_next_job(&mut self.trouble);
        // If the thread is gone, the sender is dropped, which counts as an answer.
        let _ = self.jobs.send(Box::new(move |database| {
            let outcome = contained(|| {
                #[cfg(test)]
                trouble.map_or(Ok(()), TroubleKind::meet)?;
                work(database, &progress)
            });
            if outcome.is_err() {
                // sled can no longer be trusted. The owner deletes its files as soon as it sees the
                // error. Some systems cannot delete open files; others would keep their space.
                close(database);
            }
            let _ = sender.send(outcome);
        }));
        Awaited(answer)
    }

    /// Waits for the answer as long as there are signs of life.
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

    /// Ends the use of the database by closing or deleting it.
    pub(super) fn end(mut self, work: fn(Database)) -> Result<(), Broken> {
        self.run(move |database, _| {
            database.take().into_iter().for_each(work);
            Ok(())
        })
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
    database.take().into_iter().for_each(Database::close);
}

/// The result of a job, or why it failed.
pub(super) type Outcome<T> = Result<T, String>;

/// Signs of life from within long jobs.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    pub(super) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn beats(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs code that may panic where it should return an error.
pub(super) fn contained<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(message(&*panic)))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    format!("panicked: {}", text.or(owned).unwrap_or("no message"))
}
