//! The tasks of a child that record and flush.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::RwLock;
use tokio::time::{sleep, timeout};

use super::child::{Stage, check};
use super::payload::{Id, Lane};
use super::told::{Group, Orders, Task, Told};
use integration_tests::Kind;

pub async fn write(lane: Lane, stage: Arc<RwLock<Stage>>, orders: Arc<Orders>) {
    let mut dice = Rng::with_seed(orders.seed ^ (orders.incarnation << 8 | lane.0) as u64);
    let mut number = orders.next[lane.0];
    // Some lanes are busier than others, and so are whole processes.
    let pause = dice.u64(0..60);
    loop {
        let count = match dice.u32(0..10) {
            0 => dice.u32(1..80),
            _ => dice.u32(1..4),
        };
        let group = Group {
            lane,
            first: number,
            count,
        };
        let on_stage = stage.read().await;
        let told = record(&on_stage, group, &orders, &mut dice).await;
        // Report while the lock still holds off pauses, so that a pause is reported later.
        told.say();
        drop(on_stage);
        number += count;
        let refused = matches!(told, Told::Refused(_));
        sleep(Duration::from_millis(match refused {
            true => dice.u64(20..200),
            false => dice.u64(0..=pause),
        }))
        .await;
    }
}

async fn record(stage: &Stage, group: Group, orders: &Orders, dice: &mut Rng) -> Told {
    let client = &stage.clients[group.lane.side()];
    let ids = (group.first..group.first + group.count).map(|number| Id {
        lane: group.lane,
        number,
    });
    let stream = group.lane.stream();
    let mut records: Vec<_> = ids.map(|id| (id.key(), id.data(orders.seed))).collect();
    let leaves = orders.task == Task::Everything && dice.u32(0..200) == 0;
    Told::Begun(group).say();
    let recording = async {
        match records.pop() {
            Some((key, data)) if records.is_empty() => {
                client.record_keyed(&stream, &key, data).await
            }
            last => {
                records.extend(last);
                let keyed: Vec<_> = records
                    .iter()
                    .map(|(key, data)| (&*stream, &**key, data.clone()))
                    .collect();
                client.record_all_keyed(keyed).await
            }
        }
    };
    let recorded = if leaves {
        let patience = Duration::from_micros(dice.u64(0..2000));
        match timeout(patience, recording).await {
            Ok(recorded) => recorded,
            Err(_) => return Told::Left(group),
        }
    } else {
        recording.await
    };
    match recorded {
        Ok(_) if stage.dropping => Told::Dropped(group),
        Ok(_) => Told::Stored(group),
        Err(error) if matches!(error.kind, Kind::LimitExceeded | Kind::ClientClosed) => {
            Told::Refused(group)
        }
        Err(error) => Told::Wrong(format!("record: {error:?}")),
    }
}

/// Flushes beside the timer, sometimes without waiting for the end.
pub async fn flush_now_and_then(stage: Arc<RwLock<Stage>>, orders: Arc<Orders>) {
    let mut dice = Rng::with_seed(orders.seed ^ (orders.incarnation << 8 | 255) as u64);
    loop {
        sleep(Duration::from_millis(dice.u64(0..400))).await;
        let stage = stage.read().await;
        let client = &stage.clients[dice.usize(0..2)];
        let patience = Duration::from_millis(dice.u64(0..300));
        match dice.u32(0..3) {
            0 => check("flush", client.flush().await),
            1 => drop(timeout(patience, client.flush()).await),
            _ => drop(timeout(patience, client.drain(patience * 2)).await),
        }
    }
}
