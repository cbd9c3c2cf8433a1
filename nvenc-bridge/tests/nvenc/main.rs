//! The encoder on a stand-in for the driver, which holds it to the interface's rules.

mod desk;
mod faults;
mod golden;
mod refused;
mod report;
mod standby;
mod stream;
mod table;
