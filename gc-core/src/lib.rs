//! A concurrent tri-colour mark-sweep collector that never stops the world
