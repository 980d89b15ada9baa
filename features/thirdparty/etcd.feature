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
