//! A monitor thread whose duties are pure rules over snapshots and a clock
