Feature: A cluster survives the loss of its leader

  Whether the leader is killed or only frozen, the others must notice, agree on another one, and
  keep every write that was acknowledged.

  Background:
    Given a cluster of 3 nodes
    And the nodes agree on a leader within 15 seconds

  @smoke
  Scenario: The leader is killed while writes go on
    Given I keep writing
    And 20 more writes are acknowledged within 15 seconds
    When I kill the leader
    Then another leader is agreed on within 10 seconds
    And 20 more writes are acknowledged within 15 seconds
    And no acknowledged write is lost

  Scenario: The former leader comes back as a follower
    Given I write 20 keys
    When I kill the leader
    Then another leader is agreed on within 10 seconds
    When I write 20 keys
    And I start the former leader
    Then the nodes agree on a leader within 15 seconds
    And no acknowledged write is lost

  Scenario: A paused leader is replaced and steps down when it is resumed
    Given I write 20 keys
    When I pause the leader
    Then the former leader is paused
    And another leader is agreed on within 10 seconds
    When I write 20 keys
    And I resume the former leader
    Then the nodes agree on a leader within 15 seconds
    And no acknowledged write is lost
