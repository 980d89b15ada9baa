Feature: Writes are replicated everywhere

  An acknowledged write is on a majority at once and on every node soon. Nodes that hold the same
  keys and values show the same digest.

  Background:
    Given a cluster of 3 nodes
    And the nodes agree on a leader within 15 seconds

  @smoke
  Scenario: Every node has every write
    When I write 50 keys
    Then every node has every acknowledged write within 10 seconds
    And a linearizable read of every acknowledged key gives its value

  Scenario: The last value of a key is the one that is read
    When I write "first" to key "colour"
    And I write "second" to key "colour"
    Then key "colour" reads "second" on the leader
    And every node has every acknowledged write within 10 seconds
