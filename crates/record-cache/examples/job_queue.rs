//! A durable queue of jobs: the crate used alone, without any service.
//!
//! Jobs are written to disk when they are submitted, taken in order, and forgotten once they
//! are done. One that fails stays, with its attempts counted, and is dropped after the third.
//! A worker that is killed finds its jobs again.

use std::error::Error;
use std::num::{NonZeroU64, NonZeroUsize};

use record_cache::{NewRecord, ReadLimits, Record, RecordStore, Settlement, SledStore, StreamName};

const MOST_ATTEMPTS: u32 = 3;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = match std::env::args().nth(1) {
        Some(directory) => directory.into(),
        None => std::env::temp_dir().join("record-cache-job-queue"),
    };
    let queue = SledStore::open(&directory).await?;
    let thumbnails = StreamName::new("thumbnails")?;

    let jobs = ["cat.jpg", "broken.jpg", "dog.jpg"]
        .map(|job| NewRecord::new(thumbnails.clone(), Some(job.to_owned()), "200x200"));
    queue.append(jobs.into()).await?;

    let few = ReadLimits::new(NonZeroUsize::MIN.saturating_add(9), NonZeroU64::MAX);
    loop {
        let jobs = queue.oldest(&thumbnails, None, few).await?.records;
        if jobs.is_empty() {
            break;
        }
        let mut outcome = Settlement::new(thumbnails.clone());
        for job in &jobs {
            match work(job) {
                Ok(()) => outcome.delete.push(job.id),
                Err(problem) if job.attempts + 1 < MOST_ATTEMPTS => {
                    println!("{problem}; trying again");
                    outcome.count_attempt.push(job.id);
                }
                Err(problem) => {
                    println!("{problem}; giving up");
                    outcome.delete.push(job.id);
                }
            }
        }
        // What is done and what has failed is noted in one step: a crash loses neither.
        queue.settle(outcome).await?;
    }
    println!("{} jobs left", queue.stats().records());
    queue.close().await?;
    Ok(())
}

fn work(job: &Record) -> Result<(), String> {
    let name = job.key.as_deref().unwrap_or_default();
    if name.starts_with("broken") {
        return Err(format!("{name} cannot be read"));
    }
    println!("{name}: done");
    Ok(())
}
