//! Go's span allocator: size classes, per-P caches, centrals, a page heap
