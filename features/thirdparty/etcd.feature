Feature: A cluster of etcd, which knows nothing of Trellis

  What a phrase means is the same on any application that keeps keys and has a leader. These
  scenarios use no phrase that is made for etcd.

  Background:
    Given the application is "etcd"

  Rule: Nodes that we start are ours

    Scenario: Three nodes elect a leader and replicate
      Given a cluster of 3 nodes
      Then the nodes agree on a leader within 15 seconds
      And 3 nodes have a vote within 5 seconds
      When I write 20 keys
      Then every node has every acknowledged write within 10 seconds
      And a linearizable read of every acknowledged key gives its value

    Scenario: The leader is killed while writes go on
      Given a cluster of 3 nodes
      And the nodes agree on a leader within 15 seconds
      And I keep writing
      And 20 more writes are acknowledged within 15 seconds
      When I kill the leader
      Then another leader is agreed on within 10 seconds
      And 20 more writes are acknowledged within 15 seconds
      When I start the former leader
      Then the nodes agree on a leader within 15 seconds
      And no acknowledged write is lost

    Scenario: A paused leader is replaced and steps down when it is resumed
      Given a cluster of 3 nodes
      And the nodes agree on a leader within 15 seconds
      And I write 20 keys
      When I pause the leader
      Then another leader is agreed on within 10 seconds
      When I write 20 keys
      And I resume the former leader
      Then the nodes agree on a leader within 15 seconds
      And no acknowledged write is lost

    Scenario: Writes are refused without a majority
      Given a cluster of 3 nodes
      And the nodes agree on a leader within 15 seconds
      And I write 10 keys
      When I stop a majority of the nodes
      Then no leader is agreed on within 10 seconds
      And writes are refused within 15 seconds
      When I start the stopped nodes
      Then the nodes agree on a leader within 15 seconds
      And writes are accepted within 15 seconds
      And no acknowledged write is lost

    Scenario: All nodes are restarted one after the other under writes
      Given a cluster of 3 nodes
      And the nodes agree on a leader within 15 seconds
      And I keep writing
      When I restart all nodes one after the other
      Then the nodes agree on a leader within 15 seconds
      And 20 more writes are acknowledged within 15 seconds
      And no acknowledged write is lost

    Scenario: A node is restarted with another configuration
      Given I have user config override "heartbeat-interval" as "50"
      And a cluster of 3 nodes
      When I restart NODE_1 with user config override "election-timeout" as "500"
      Then the nodes agree on a leader within 15 seconds

  Rule: Nodes that somebody else runs are asked and written to, and that is all

    Scenario: Three nodes on other hosts lead, follow and replicate, and never notice
      Given 3 nodes that somebody else runs
      And the nodes that somebody else runs are external nodes of this scenario
      And the nodes are ready
      Then THEIRS_1 is borrowed
      And the nodes agree on a leader within 15 seconds
      When I write 20 keys
      Then every node has every acknowledged write within 10 seconds
      And a linearizable read of every acknowledged key gives its value
      And the nodes that somebody else runs never noticed

    Scenario: A restart is refused before anything is started
      Given 3 nodes that somebody else runs
      When I run the harness on this feature:
        """
        Feature: Hands off
          Scenario: A node of others
            Given the application is "etcd"
            And external nodes:
              | node   | url               |
              | ETCD_1 | env(THEIRS_1_URL) |
              | ETCD_2 | env(THEIRS_2_URL) |
              | ETCD_3 | env(THEIRS_3_URL) |
            And the nodes are ready
            When I restart ETCD_2
        """
      Then the exit code is 2
      And it prints "refused to restart ETCD_2: it is borrowed"
      And it prints "nothing was started"
      And the nodes that somebody else runs never noticed
