//! Decides what a child does besides recording, and pauses all tasks at times.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::{RwLock, mpsc};
use tokio::time::{sleep, timeout};

use super::child::{Stage, check, open, open_with};
use super::payload::{STREAMS, stream};
use super::told::{Orders, Side, Task, Timer, Told, Word};
use integration_tests::{Client, SERVICES};

pub struct Director {
    pub orders: Arc<Orders>,
    pub stage: Arc<RwLock<Stage>>,
    pub words: mpsc::UnboundedReceiver<Word>,
    pub dice: Rng,
    pub ends: bool,
}

/// What happens at the end of a pause.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum After {
    GoOn,
    Clear,
    Reopen,
}

impl Director {
    pub async fn direct(&mut self) {
        while !self.ends {
            let pause = Duration::from_millis(self.dice.u64(0..300));
            match timeout(pause, self.words.recv()).await {
                Ok(Some(Word::End) | None) => self.ends = true,
                Ok(Some(Word::GoOn)) | Err(_) => {}
            }
            if self.orders.task == Task::RecordAndDeliver {
                continue;
            }
            let side = self.dice.usize(0..2);
            match self.dice.u32(0..16) {
                0..4 => self.quiet(After::GoOn).await,
                4 | 5 => self.quiet(After::Clear).await,
                6 => self.quiet(After::Reopen).await,
                7 => self.drop_for_a_while().await,
                8 => clear(&self.stage.read().await.clients[side], side, false).await,
                9..11 => self.reopen_in_the_midst(side).await,
                11..14 => {
                    let deadline = Duration::from_millis(self.dice.u64(0..1500));
                    let stage = self.stage.read().await;
                    check("drain", stage.clients[side].drain(deadline).await);
                }
                _ => self.switch_on_and_off(side).await,
            }
        }
        self.quiet(After::GoOn).await;
    }

    /// Stops all tasks until nothing is in progress, reports the counts and waits for a word.
    pub async fn quiet(&mut self, after: After) {
        let mut stage = self.stage.write().await;
        for (side, client) in stage.clients.iter().enumerate() {
            rest(client).await;
            let cached = cached(client);
            Told::Quiet { side, cached }.say();
            match self.words.recv().await {
                Some(Word::GoOn) => {}
                Some(Word::End) => {
                    self.ends = true;
                    let _ = self.words.recv().await;
                }
                None => self.ends = true,
            }
        }
        for (side, client) in stage.clients.iter_mut().enumerate() {
            match after {
                After::GoOn => {}
                After::Clear => clear(client, side, true).await,
                After::Reopen => {
                    let before = cached(client);
                    check("close", client.close().await);
                    // Without a timer, nothing is delivered before the count.
                    *client = open_with(&self.orders, SERVICES[side], Timer::Never).await;
                    let now = cached(client);
                    // A record whose future was dropped may have been stored late.
                    if now.iter().zip(before).any(|(now, before)| *now < before) {
                        Told::Wrong(format!("{before:?} were cached, after closing {now:?}")).say();
                    }
                    check("close", client.close().await);
                    *client = open(&self.orders, SERVICES[side]).await;
                }
            }
            client.enable();
        }
    }

    async fn drop_for_a_while(&mut self) {
        let dropping = async |dropping: bool| {
            let mut stage = self.stage.write().await;
            stage.dropping = dropping;
            for client in &stage.clients {
                if dropping {
                    client.disable();
                } else {
                    client.enable();
                }
            }
        };
        dropping(true).await;
        sleep(Duration::from_millis(self.dice.u64(0..100))).await;
        dropping(false).await;
    }

    async fn reopen_in_the_midst(&mut self, side: Side) {
        let closing = self.stage.read().await.clients[side].clone();
        check("close", closing.close().await);
        let mut stage = self.stage.write().await;
        stage.clients[side] = open(&self.orders, SERVICES[side]).await;
    }

    /// Disables and enables the client, which the timer must survive. Nobody records meanwhile,
    /// since those records would be dropped.
    async fn switch_on_and_off(&mut self, side: Side) {
        let stage = self.stage.write().await;
        for _ in 0..self.dice.u32(1..5) {
            stage.clients[side].disable();
            tokio::task::yield_now().await;
            stage.clients[side].enable();
        }
    }

    pub async fn finish(&mut self) {
        let stage = Arc::clone(&self.stage);
        loop {
            let mut left = 0;
            for client in &stage.read().await.clients {
                // Unlike a drain, a flush does not skip failing streams.
                check("flush", client.flush().await);
                left += client.cached();
            }
            if left == 0 {
                break;
            }
        }
        self.quiet(After::GoOn).await;
    }
}

/// Waits until no pass is running or going to run.
async fn rest(client: &Client) {
    client.disable();
    loop {
        match client.flush().await {
            Ok(flushed) if flushed.flush_in_progress => sleep(Duration::from_millis(2)).await,
            other => return check("flush", other),
        }
    }
}

async fn clear(client: &Client, side: Side, at_rest: bool) {
    Told::Clearing { side, at_rest }.say();
    match client.clear_cache().await {
        Ok(cleared) => {
            let records = cleared.records_cleared;
            Told::Cleared { side, records }.say();
        }
        Err(error) => Told::Wrong(format!("clear_cache: {error:?}")).say(),
    }
}

fn cached(client: &Client) -> [usize; STREAMS] {
    let streams = client.cache_stats().streams.into_iter();
    let cached: HashMap<_, _> = streams.map(|s| (s.stream_name, s.records)).collect();
    std::array::from_fn(|number| cached.get(&stream(number)).copied().unwrap_or(0))
}
