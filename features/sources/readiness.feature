Feature: How many nodes must be ready, and of whom

  Rule: All nodes, unless the scenario says that fewer will do

    Background:
      Given 3 nodes that somebody else runs
      And somebody else kills THEIRS_3

    Scenario: A dead node of others fails a cluster that wants all
      When I run the harness on this feature:
        """
        Feature: All
          Scenario: One is dead
            Given external nodes:
              | node  | url               |
              | ALPHA | env(THEIRS_1_URL) |
              | BETA  | env(THEIRS_2_URL) |
              | GAMMA | env(THEIRS_3_URL) |
            And nodes must be ready within 2 seconds
            When the nodes are ready
        """
      Then the exit code is 1
      And it prints "GAMMA: not ready"

    Scenario: It is left out where two will do
      Given the nodes that somebody else runs are external nodes of this scenario
      And nodes must be ready within 3 seconds
      And at least 2 nodes must be ready
      When the nodes are ready
      Then THEIRS_3 is unreachable
      And at least 2 nodes are ready within 5 seconds
      When I write 5 keys
      Then no acknowledged write is lost

  Rule: Nodes of others cannot make up for one of ours

    Scenario: A node of ours that ends fails the cluster whatever the number
      Given 3 nodes that somebody else runs
      When I run the harness on this feature:
        """
        Feature: Quorum
          Scenario: Ours is dead
            Given external nodes:
              | node  | url               |
              | ALPHA | env(THEIRS_1_URL) |
              | BETA  | env(THEIRS_2_URL) |
              | GAMMA | env(THEIRS_3_URL) |
            And at least 2 nodes must be ready
            And NODE_1 has user config override "data_dir" as "/proc/nowhere"
            And a cluster of 1 node
        """
      Then the exit code is 1
      And it prints "NODE_1 ended before it was ready"
      And the nodes that somebody else runs never noticed

    Scenario: So many of ours and so many in all
      Given 3 nodes that somebody else runs
      And somebody else kills THEIRS_3
      And the nodes that somebody else runs are external nodes of this scenario
      And nodes must be ready within 5 seconds
      And at least 1 managed node and 3 nodes in all must be ready
      And a cluster of 1 node
      Then NODE_1 is running
      And THEIRS_3 is unreachable
