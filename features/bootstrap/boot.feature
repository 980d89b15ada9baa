@smoke
Feature: A cluster boots

  A cluster is a number and nothing more: its nodes, ports, folders and configuration are the
  harness's business. It counts as there when every node is ready, and a leader follows from that.

  Rule: Nodes that begin together find each other

    Scenario Outline: A cluster of <nodes> elects one leader
      Given a cluster of <nodes> nodes
      Then the nodes agree on a leader within 15 seconds
      And <nodes> nodes have a vote within 5 seconds
      And <nodes> nodes are running

      Examples:
        | nodes |
        | 1     |
        | 3     |
        | 5     |

  Rule: Nodes can be started one by one

    Scenario: The first node on demand begins the cluster
      Given I have a cluster with capacity of 2 nodes
      When I start node "NODE_1"
      Then the nodes agree on a leader within 15 seconds
      When I start node "NODE_2"
      And I add NODE_2 to the voters
      Then 2 nodes have a vote within 15 seconds

  Rule: What the application generates can be overridden

    Scenario: A node is restarted with another configuration
      Given a cluster of 1 node
      And the nodes agree on a leader within 15 seconds
      And I write 5 keys
      When I restart NODE_1 with user config override "heartbeat_ms" as "100"
      Then the nodes agree on a leader within 15 seconds
      And no acknowledged write is lost
