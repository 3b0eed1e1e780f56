//! The only thread that calls sled, isolating all others from its failures.
//!
//! sled may block indefinitely, and panics where it should return an error. So it runs on its own
//! thread, which takes jobs and sends answers. An owner that waits too long or gets an error
//! abandons the thread, which ends by itself if it ever resumes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;

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
    /// The answer to the posted job.
    posted: Option<Receiver<Outcome<()>>>,
    progress: Progress,
    settings: IndexSettings,
}

impl Worker {
    /// Starts a thread without a database; its first job opens one.
    pub(super) fn start(settings: IndexSettings) -> Result<Self, Broken> {
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
            posted: None,
            progress: Progress::default(),
            settings,
        })
    }

    /// Runs a job, after the posted one.
    pub(super) fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Option<Database>, &Progress) -> Outcome<T> + Send + 'static,
    ) -> Result<T, Broken> {
        self.await_posted()?;
        let answer = self.send(work);
        self.wait(&answer)
    }

    /// Runs a job while its owner continues. One at a time, so the owner cannot outrun the
    /// disk.
    pub(super) fn post(
        &mut self,
        work: impl FnOnce(&mut Option<Database>, &Progress) -> Outcome<()> + Send + 'static,
    ) -> Result<(), Broken> {
        self.await_posted()?;
        self.posted = Some(self.send(work));
        Ok(())
    }

    pub(super) fn await_posted(&mut self) -> Result<(), Broken> {
        let posted = self.posted.take();
        posted.map_or(Ok(()), |answer| self.wait(&answer))
    }

    /// Ends the use of the database by closing or deleting it.
    pub(super) fn end(mut self, work: fn(Database)) -> Result<(), Broken> {
        self.run(move |database, _| {
            database.take().into_iter().for_each(work);
            Ok(())
        })
    }

    fn send<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Option<Database>, &Progress) -> Outcome<T> + Send + 'static,
    ) -> Receiver<Outcome<T>> {
        let (sender, answer) = mpsc::channel();
        let progress = Arc::clone(&self.progress);
        #[cfg(test)]
        let trouble = Trouble::at_next_job(&mut self.settings.trouble);
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
        answer
    }

    /// Waits for an answer as long as there are heartbeats.
    fn wait<T>(&self, answer: &Receiver<Outcome<T>>) -> Result<T, Broken> {
        let limit = self.settings.limit;
        loop {
            let signs = self.progress.load(Ordering::Relaxed);
            match answer.recv_timeout(limit) {
                Ok(outcome) => return outcome.map_err(Broken),
                Err(RecvTimeoutError::Timeout) => {
                    if self.progress.load(Ordering::Relaxed) == signs {
                        return Err(Broken(format!("no answer within {limit:?}")));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Broken("the index thread has ended".to_owned()));
                }
            }
        }
    }
}

pub(super) fn opened(database: &mut Option<Database>) -> Outcome<&mut Database> {
    Ok(database.as_mut().ok_or("the database is closed")?)
}

fn close(database: &mut Option<Database>) {
    database.take().into_iter().for_each(Database::close);
}

/// The result of a job, or why it failed.
pub(super) type Outcome<T> = Result<T, String>;

/// Counts heartbeats from within long jobs.
pub(super) type Progress = Arc<AtomicU64>;

/// Runs code that may panic where it should return an error.
pub(super) fn contained<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or(panic.downcast_ref::<String>().map(String::as_str));
        Err(format!("panicked: {}", text.unwrap_or("no message")))
    })
}
