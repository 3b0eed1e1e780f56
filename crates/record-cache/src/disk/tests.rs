//! Tests on a simulated disk that fails, or loses what was not synced.

mod broken;
mod checkpoints;
mod faults;
mod history;
mod outline;
mod power_loss;
mod settling;
mod sharing;
mod sim;
mod slow;
mod staging;
mod stalls;
mod stranded;
