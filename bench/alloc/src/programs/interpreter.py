# An interpreter under load: objects of all sizes that come and go, of the standard library only.
import collections, json, random, re, sys

random.seed(7)
words = [f"word{n % 997}x{n}" for n in range(20_000)]
kept = collections.deque(maxlen=6)
for step in range(int(sys.argv[1])):
    # Records to text and back: strings, dictionaries, floats.
    rows = [{"id": n, "name": words[n * 7 % 20_000], "tags": words[n : n + 5], "x": n / 7} for n in range(6_000)]
    again = json.loads(json.dumps(rows))
    # Text: splitting, substituting, counting.
    text = " ".join(random.choices(words, k=20_000))
    counts = collections.Counter(re.sub(r"\d+", lambda m: m.group()[::-1], text).split())
    # A tree of tuples, and integers longer than a word.
    tree = None
    for key in random.sample(range(60_000), 20_000):
        tree = (key, tree, key * key**5)
    # Buffers of kilobytes that grow.
    buffer = bytearray()
    for n in range(2_000):
        buffer += words[n].encode() * (n % 9)
    kept.append((again[:: step % 5 + 1], counts, tree, bytes(buffer)))
print(len(kept))
